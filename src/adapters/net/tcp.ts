/** Plain TCP. Whoever needs to know who the peer is takes TLS or asks for a password. */
import { createServer } from 'node:net'
import type { Log } from '../../ports/log.ts'
import type { Acceptor, ListenerTraits } from '../../ports/transport.ts'
import type { Address } from './address.ts'
import { type ListenerOptions, type NetListener, SocketListener } from './listener.ts'
import { unknownPeer } from './socket-link.ts'

export interface TcpSettings extends ListenerOptions {
  readonly bind: Address
}

/** Rejects with the Failure ERR_LISTEN. */
export async function listenTcp(
  settings: TcpSettings,
  acceptor: Acceptor,
  traits: ListenerTraits,
  log: Log,
): Promise<NetListener> {
  const server = createServer()
  const listener = new SocketListener(server, acceptor, traits, log, settings)
  server.on('connection', (socket, remote?: string) => {
    listener.accept(socket, remote === undefined ? unknownPeer : { remote, identity: undefined })
  })
  await listener.open(settings.bind)
  return listener
}
