/**
 * What all listeners share: opening the address, counting links, refusing new ones at the end. Closing a listener
 * frees its address at once and leaves the links that are open to their owners.
 */
import { type AddressInfo, createServer, type ListenOptions, type Server, type Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import { Failure } from '../../lib/errors.ts'
import type { Log } from '../../ports/log.ts'
import type { Acceptor, ListenerTraits } from '../../ports/transport.ts'
import { type Address, formatAddress } from './address.ts'
import { ConnectRate } from './connect-rate.ts'
import { describeError } from './network-error.ts'
import { readProxyHeader } from './proxied-socket.ts'
import { RefusalLog } from './refusal-log.ts'
import { shareShapesOfSockets } from './shared-shapes.ts'
import { type OpenLink, openLink, type Peer, remoteOf } from './socket-link.ts'

export interface Listener {
  readonly linkCount: number
  /** Accepts nobody from now on. Links that are open stay open. */
  close(): Promise<void>
}

export interface NetListener extends Listener {
  /** What it listens on: the port is the real one also when 0 was asked for. */
  readonly address: Address
}

/** What every kind of listener may have. */
export interface ListenerOptions {
  /** undefined = the socket carries MQTT and nothing else */
  readonly openLink?: OpenLink | undefined
  /** Clients come through a proxy that tells where they come from; nobody else gets in. */
  readonly isProxied?: boolean
  /** Sockets that are open at the same time. */
  readonly connectionCountMax?: number | undefined
  /** New sockets, evenly spread or all at the begin of the second. */
  readonly connectsPerSecondMax?: number | undefined
}

/** The socket knows its listener, so that one function hears the end of every link. */
const listenerOf = Symbol('listener')
type AcceptedSocket = Socket & { [listenerOf]: SocketListener }

function onClose(this: Socket): void {
  ;(this as AcceptedSocket)[listenerOf].closed(this)
}

/** `server` tells of each socket by its event 'connection', where a proxy told it with the address of the client. */
export class SocketListener implements NetListener {
  readonly refusals: RefusalLog
  /** What listens: `server`, or what stands before it to limit the rate or to read the header of a proxy. */
  readonly #server: Server
  readonly #isProxied: boolean
  readonly #connectRate: ConnectRate | undefined
  readonly #acceptor: Acceptor
  readonly #traits: ListenerTraits
  readonly #log: Log
  readonly #openLink: OpenLink
  /** Sockets that are no links yet. */
  readonly #opening = new Set<Socket>()
  #address: Address = { host: '', port: 0 }
  #linkCount = 0

  constructor(server: Server, acceptor: Acceptor, traits: ListenerTraits, log: Log, options: ListenerOptions) {
    const { isProxied, connectionCountMax, connectsPerSecondMax } = options
    this.#isProxied = isProxied === true
    this.#connectRate = connectsPerSecondMax === undefined ? undefined : new ConnectRate(connectsPerSecondMax)
    const needsDoor = this.#isProxied || this.#connectRate !== undefined
    this.#server = needsDoor ? createServer((socket) => this.#meet(socket, server)) : server
    if (connectionCountMax !== undefined) this.#limitCount(connectionCountMax)
    this.#acceptor = acceptor
    this.#traits = traits
    this.#log = log
    this.#openLink = options.openLink ?? openLink
    this.refusals = new RefusalLog(log, traits, acceptor)
  }

  get address(): Address {
    return this.#address
  }

  get linkCount(): number {
    return this.#linkCount
  }

  /** Rejects with ERR_LISTEN. */
  async open(bind: Address): Promise<void> {
    await this.listen({ host: bind.host, port: bind.port }, formatAddress(bind))
    const { address, port } = this.#server.address() as AddressInfo
    this.#address = { host: address, port }
    this.opened(formatAddress(this.#address))
  }

  /** The same for what is no network address. @param bind how the settings name it */
  async listen(options: ListenOptions, bind: string): Promise<void> {
    const server = this.#server
    shareShapesOfSockets()
    await new Promise<void>((resolve, reject) => {
      const onError = (error: NodeJS.ErrnoException) => reject(listenFailure(bind, error))
      server.once('error', onError)
      server.listen({ ...options, backlog: 1024 }, () => {
        server.off('error', onError)
        resolve()
      })
    })
    server.on('error', (error) => this.refusals.add('unknown', describeError(error)))
  }

  opened(bind: string): void {
    this.#log.info({ name: this.#traits.name, bind }, 'listener open')
  }

  accept(socket: Socket, peer: Peer): void {
    this.#linkCount++
    ;(socket as AcceptedSocket)[listenerOf] = this
    socket.on('close', onClose)
    let isOpen = false
    this.#openLink(
      socket,
      peer,
      (link) => {
        isOpen = true
        this.#opening.delete(socket)
        return this.#acceptor.accept(link, this.#traits)
      },
      (reason) => this.refusals.add(peer.remote ?? remoteOf(socket), reason),
    )
    // Most are a link at once.
    if (!isOpen) this.#opening.add(socket)
  }

  closed(socket: Socket): void {
    this.#linkCount--
    this.#opening.delete(socket)
  }

  /** The system's own limit: whoever is over it costs no socket of ours. */
  #limitCount(countMax: number): void {
    this.#server.maxConnections = countMax
    this.#server.on('drop', (peer) => {
      const { remoteAddress: host = 'unknown', remotePort: port = 0 } = peer ?? {}
      this.refusals.add(formatAddress({ host, port }), `more than connection_count_max = ${countMax} connections`)
    })
  }

  #meet(socket: Socket, server: Server): void {
    if (this.#connectRate !== undefined && !this.#connectRate.take(performance.now())) {
      const remote = remoteOf(socket)
      socket.destroy()
      this.refusals.add(remote, `more than connects_per_second_max = ${this.#connectRate.perSecondMax} new connections`)
    } else if (this.#isProxied) {
      this.#askProxy(socket, server)
    } else {
      server.emit('connection', socket)
    }
  }

  #askProxy(socket: Socket, server: Server): void {
    const proxy = remoteOf(socket)
    this.#opening.add(socket)
    const done = () => this.#opening.delete(socket)
    readProxyHeader(socket, {
      onSource: (source) => {
        done()
        // TLS reads below the stream of the socket. Others read the stream: it flows from the next turn on, when it
        // has its owner, and one who pauses it now keeps it paused.
        if (!(server instanceof TlsServer)) socket.resume()
        server.emit('connection', socket, source && formatAddress(source))
      },
      onRefused: (reason) => this.refusals.add(proxy, reason),
    })
    socket.once('close', done)
  }

  async close(): Promise<void> {
    // The callback of close() waits for the last link, but the address is free as soon as it returns.
    if (this.#server.listening) this.#server.close()
    for (const socket of this.#opening) socket.destroy()
    this.#log.info({ name: this.#traits.name }, 'listener closed')
  }
}

export function listenFailure(bind: string, error: NodeJS.ErrnoException): Failure {
  return new Failure('ERR_LISTEN', `bind = "${bind}" ${bindFault(error)}`, error)
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
