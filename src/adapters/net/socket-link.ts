/**
 * A `Link` over a TCP or TLS socket that is open (ports/transport.ts). It is on the hot path: chunks go to the owner
 * as they come, and one `send` is one write to the system.
 *
 * Every end of a socket arrives at `onClosed` through its 'close' event, which Node emits once and never inside a
 * call of ours. A peer that stopped sending is answered by the same: what is buffered leaves, then our half closes.
 * In both directions a peer that does not finish within `lingerMs` is cut off, so no socket outlives its connection.
 */
import type { Socket } from 'node:net'
import { Failure } from '../../lib/errors.ts'
import type { Link, LinkOwner } from '../../ports/transport.ts'
import { formatAddress } from './address.ts'
import { describeError } from './network-error.ts'

/** For a peer that does not finish what was ended. */
export const lingerMs = 2000

/** Silence after which the system asks whether the peer is there: it finds peers that vanished behind a NAT. */
const keepAliveProbeMs = 60_000

/** Who is at the other end, as the fields of `Link`. */
export type Peer = Pick<Link, 'remote' | 'identity'>

/**
 * Makes `socket`, which is open, a link and hands it to `accept`, whose answer owns it from then on. Where that takes
 * a while it may end in `refuse` and the end of the socket instead.
 */
export type OpenLink = (
  socket: Socket,
  peer: Peer,
  accept: (link: Link) => LinkOwner,
  refuse: (reason: string) => void,
) => void

/** The socket carries MQTT and nothing else: it is a link at once. */
export function openLink(socket: Socket, peer: Peer, accept: (link: Link) => LinkOwner): void {
  const link = new SocketLink(socket, peer)
  link.bind(accept(link))
}

/** What a link wants of its socket: small packets leave at once, and a peer that vanished is noticed. */
export function tuneSocket(socket: Socket): void {
  socket.setNoDelay(true)
  socket.setKeepAlive(true, keepAliveProbeMs)
}

/** `192.0.2.1:49152`; `unknown` when the peer left before it could be asked. */
export function remoteOf(socket: Socket): string {
  const { remoteAddress: host, remotePort: port } = socket
  return host === undefined || port === undefined ? 'unknown' : formatAddress({ host, port })
}

class SocketLink implements Link {
  readonly remote: string
  readonly identity: string | undefined
  readonly #socket: Socket
  #owner: LinkOwner | undefined
  #failure: Failure | undefined
  /** The owner saw bytes buffered and waits to hear that they left. */
  #owesDrain = false
  #isEnding = false
  #lingerTimer: NodeJS.Timeout | undefined

  constructor(socket: Socket, { remote, identity }: Peer) {
    this.remote = remote
    this.identity = identity
    this.#socket = socket
    tuneSocket(socket)
  }

  bind(owner: LinkOwner): void {
    this.#owner = owner
    const socket = this.#socket
    socket.on('error', (error) => {
      this.#failure ??= new Failure('ERR_LINK_CLOSED', `${this.remote}: ${describeError(error)}`, error)
    })
    socket.on('close', () => {
      clearTimeout(this.#lingerTimer)
      owner.onClosed(this.#failure)
    })
    socket.on('end', () => this.#linger())
    socket.on('data', (chunk: Buffer) => {
      if (!this.#isEnding) owner.receive(chunk)
    })
  }

  get bufferedByteCount(): number {
    return this.#socket.writableLength
  }

  send(pieces: readonly Buffer[]): void {
    const socket = this.#socket
    if (!socket.writable) return
    if (pieces.length > 1) socket.cork()
    for (const piece of pieces) socket.write(piece, this.#onWritten)
    if (pieces.length > 1) socket.uncork()
    if (socket.writableLength > 0) this.#owesDrain = true
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#isEnding = true
    this.#socket.end()
    // Unread bytes would turn our close into a reset, which can overtake what was sent last: they are read and dropped.
    this.#socket.resume()
    this.#linger()
  }

  destroy(): void {
    this.#isEnding = true
    this.#socket.destroy()
  }

  /** Node's own 'drain' comes only above its high-water mark; the callback of a write always comes, never inside it. */
  readonly #onWritten = (error: Error | null | undefined): void => {
    const { destroyed, writableLength } = this.#socket
    if (error || destroyed || writableLength > 0 || !this.#owesDrain) return
    this.#owesDrain = false
    this.#owner?.onDrain()
  }

  #linger(): void {
    this.#lingerTimer ??= setTimeout(() => this.#socket.destroy(), lingerMs)
  }
}
