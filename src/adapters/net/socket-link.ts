/**
 * A `Link` over a TCP or TLS socket that is open (ports/transport.ts). It is on the hot path: chunks go to the owner
 * as they come, and one `send` is one write to the system.
 *
 * Every end of a socket arrives at `onClosed` through its 'close' event, which Node emits once and never inside a
 * call of ours. A peer that stopped sending is answered by the same: what is buffered leaves, then our half closes.
 * In both directions a peer that does not finish within `lingerMs` is cut off, so no socket outlives its connection.
 *
 * Thousands of links may come at once and stay idle. So a link has no closure of its own, asks for the address of its
 * peer when somebody wants to know it, and tells the system what it wants of the socket when that begins to matter.
 */
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { Failure } from '../../lib/errors.ts'
import type { Link, LinkOwner } from '../../ports/transport.ts'
import { formatAddress } from './address.ts'
import { describeError } from './network-error.ts'
import { type Reader, readTurns } from './read-turns.ts'
import { readIntoShared } from './shared-buffer.ts'

/** For a peer that does not finish what was ended. */
export const lingerMs = 2000

/** Silence after which the system asks whether the peer is there: it finds peers that vanished behind a NAT. */
const keepAliveProbeMs = 60_000

/** How long a link must have been open for that: one that is closed before does without. */
const unprobedMs = 30_000

const noBytes = Buffer.alloc(0)

/** Who is at the other end, as the fields of `Link`. */
export interface Peer {
  /** undefined = the address of the socket */
  readonly remote: string | undefined
  readonly identity: string | undefined
}

export const unknownPeer: Peer = { remote: undefined, identity: undefined }

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

/** Sockets that the system does not probe yet. */
const unprobed = new Set<Socket>()
let isProbeDue = false

/** Has the system notice, in a while, when the peer vanished: a system call that a burst of new links does not pay for. */
export function probeLater(socket: Socket): void {
  unprobed.add(socket)
  if (isProbeDue) return
  isProbeDue = true
  setTimeout(probeAll, unprobedMs).unref()
}

export function probeNoMore(socket: Socket): void {
  unprobed.delete(socket)
}

function probeAll(): void {
  isProbeDue = false
  for (const socket of unprobed) socket.setKeepAlive(true, keepAliveProbeMs)
  unprobed.clear()
}

/** `192.0.2.1:49152`; `unknown` when the peer left before it could be asked. */
export function remoteOf(socket: Socket): string {
  const { remoteAddress: host, remotePort: port } = socket
  return host === undefined || port === undefined ? 'unknown' : formatAddress({ host, port })
}

/** The socket knows its link, so that its listeners are the same four functions for every link. */
const linkOf = Symbol('link')
type LinkedSocket = Socket & { [linkOf]: SocketLink }

function onData(this: Socket, chunk: Buffer): void {
  ;(this as LinkedSocket)[linkOf].onData(chunk)
}

function onRead(this: Socket, byteCount: number, buffer: Buffer): void {
  ;(this as LinkedSocket)[linkOf].onData(buffer.subarray(0, byteCount))
}

function onEnd(this: Socket): void {
  ;(this as LinkedSocket)[linkOf].onEnd()
}

function onError(this: Socket, error: Error): void {
  ;(this as LinkedSocket)[linkOf].onError(error)
}

function onClose(this: Socket): void {
  ;(this as LinkedSocket)[linkOf].onClose()
}

class SocketLink implements Link, Reader {
  unread: Buffer | undefined = undefined
  /** Unless they are in the memory that sockets share. */
  readonly chunksStay: boolean
  readonly identity: string | undefined
  readonly #socket: Socket
  #remote: string | undefined
  #owner: LinkOwner | undefined
  #failure: Failure | undefined
  /** 2 = twice or more. */
  #sendCount = 0
  /** The owner saw bytes buffered and waits to hear that they left. */
  #owesDrain = false
  #isEnding = false
  #isPaused = false
  #lingerTimer: NodeJS.Timeout | undefined

  constructor(socket: Socket, { remote, identity }: Peer) {
    this.identity = identity
    this.#remote = remote
    this.#socket = socket
    // TLS and what came before this was a link are read as usual.
    const isPlain = !(socket instanceof TLSSocket) && socket.readableLength === 0
    this.chunksStay = !(isPlain && readIntoShared(socket, onRead))
  }

  bind(owner: LinkOwner): void {
    this.#owner = owner
    const socket = this.#socket as LinkedSocket
    socket[linkOf] = this
    socket.on('error', onError).on('close', onClose).on('end', onEnd)
    if (this.chunksStay) socket.on('data', onData)
    probeLater(socket)
  }

  onData(chunk: Buffer): void {
    if (!this.#isEnding) readTurns.take(this, chunk)
  }

  deliver(chunk: Buffer): void {
    if (!this.#isEnding) this.#owner?.receive(chunk)
  }

  hold(): void {
    this.#socket.pause()
  }

  release(): void {
    if (!this.#isPaused) this.#socket.resume()
  }

  onEnd(): void {
    this.#linger()
  }

  onError(error: Error): void {
    this.#failure ??= new Failure('ERR_LINK_CLOSED', `${this.remote}: ${describeError(error)}`, error)
  }

  onClose(): void {
    probeNoMore(this.#socket)
    clearTimeout(this.#lingerTimer)
    const { unread } = this
    this.unread = undefined
    if (unread !== undefined) this.deliver(unread)
    this.#owner?.onClosed(this.#failure)
  }

  get remote(): string {
    this.#remote ??= remoteOf(this.#socket)
    return this.#remote
  }

  get bufferedByteCount(): number {
    return this.#socket.writableLength
  }

  send(pieces: readonly Buffer[]): void {
    const socket = this.#socket
    if (!socket.writable) return
    // The first bytes leave at once in any case; the system holds small packets back only behind others.
    if (this.#sendCount < 2 && ++this.#sendCount === 2) socket.setNoDelay(true)
    if (pieces.length > 1) socket.cork()
    for (const piece of pieces) socket.write(piece)
    if (pieces.length > 1) socket.uncork()
    if (socket.writableLength > 0) this.#awaitDrain()
  }

  pause(): void {
    this.#isPaused = true
    this.#socket.pause()
  }

  resume(): void {
    this.#isPaused = false
    if (this.unread === undefined) this.#socket.resume()
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
  #awaitDrain(): void {
    if (this.#owesDrain) return
    this.#owesDrain = true
    this.#socket.write(noBytes, (error) => {
      this.#owesDrain = false
      if (error || this.#socket.destroyed) return
      if (this.#socket.writableLength > 0) this.#awaitDrain()
      else this.#owner?.onDrain()
    })
  }

  #linger(): void {
    this.#lingerTimer ??= setTimeout(() => this.#socket.destroy(), lingerMs)
  }
}
