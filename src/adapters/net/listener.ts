/**
 * What TCP and TLS listeners share: opening the address, counting links, refusing new ones at the end. Closing a
 * listener frees its address at once and leaves the links that are open to their owners.
 */
import type { AddressInfo, Server, Socket } from 'node:net'
import { Failure } from '../../lib/errors.ts'
import type { Log } from '../../ports/log.ts'
import type { Acceptor, ListenerTraits } from '../../ports/transport.ts'
import { type Address, formatAddress } from './address.ts'
import { describeError } from './network-error.ts'
import { RefusalLog } from './refusal-log.ts'
import { openLink } from './socket-link.ts'

export interface NetListener {
  /** What it listens on: the port is the real one also when 0 was asked for. */
  readonly address: Address
  readonly linkCount: number
  /** Accepts nobody from now on. Links that are open stay open. */
  close(): Promise<void>
}

export class SocketListener implements NetListener {
  readonly refusals: RefusalLog
  readonly #server: Server
  readonly #acceptor: Acceptor
  readonly #traits: ListenerTraits
  readonly #log: Log
  #address: Address = { host: '', port: 0 }
  #linkCount = 0

  constructor(server: Server, acceptor: Acceptor, traits: ListenerTraits, log: Log) {
    this.#server = server
    this.#acceptor = acceptor
    this.#traits = traits
    this.#log = log
    this.refusals = new RefusalLog(log, traits.name)
  }

  get address(): Address {
    return this.#address
  }

  get linkCount(): number {
    return this.#linkCount
  }

  /** Rejects with ERR_LISTEN. */
  async open(bind: Address): Promise<void> {
    const server = this.#server
    await new Promise<void>((resolve, reject) => {
      server.on('error', (error) => {
        if (server.listening) this.refusals.add('unknown', describeError(error))
        else reject(listenFailure(bind, error))
      })
      server.listen({ host: bind.host, port: bind.port, backlog: 1024 }, resolve)
    })
    const { address, port } = server.address() as AddressInfo
    this.#address = { host: address, port }
    this.#log.info({ name: this.#traits.name, bind: formatAddress(this.#address) }, 'listener open')
  }

  accept(socket: Socket, identity: string | undefined): void {
    this.#linkCount++
    socket.once('close', () => this.#linkCount--)
    openLink(socket, identity, (link) => this.#acceptor.accept(link, this.#traits))
  }

  async close(): Promise<void> {
    // The callback of close() waits for the last link, but the address is free as soon as it returns.
    if (this.#server.listening) this.#server.close()
    this.#log.info({ name: this.#traits.name }, 'listener closed')
  }
}

function listenFailure(bind: Address, error: NodeJS.ErrnoException): Failure {
  return new Failure('ERR_LISTEN', `bind = "${formatAddress(bind)}" ${bindFault(error)}`, error)
}

function bindFault(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return 'is in use by another program'
    case 'EACCES':
      return 'needs privileges that this user does not have'
    case 'EADDRNOTAVAIL':
      return 'is no address of this machine'
    case 'ENOTFOUND':
      return 'names an unknown host'
    default:
      return `cannot be opened: ${describeError(error)}`
  }
}
