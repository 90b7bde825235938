/**
 * A `Link` over a WebSocket (MQTT 5.0 §6): the bytes of its binary messages, one after the other. What one `send`
 * brings leaves as one message; where packets begin and end in messages means nothing.
 *
 * Package ws answers the closing handshake and cuts off a peer that does not finish it; what is added here is the
 * same for a peer that goes without one.
 */
import type { Socket } from 'node:net'
import { WebSocket } from 'ws'
import { Failure } from '../../lib/errors.ts'
import type { Link, LinkOwner } from '../../ports/transport.ts'
import { describeError } from './network-error.ts'
import { lingerMs, type Peer, probeLater, probeNoMore, remoteOf } from './socket-link.ts'

/** Status codes of RFC 6455 §7.4.1. */
const normalClosure = 1000
const unsupportedMessage = 1003

/** A peer that pings without reading must not pile up our answers. */
const pongBufferedBytesMax = 65_536

export function openWebSocketLink(
  webSocket: WebSocket,
  socket: Socket,
  peer: Peer,
  accept: (link: Link) => LinkOwner,
): void {
  const link = new WebSocketLink(webSocket, socket, peer)
  link.bind(accept(link))
}

class WebSocketLink implements Link {
  readonly remote: string
  readonly identity: string | undefined
  readonly #webSocket: WebSocket
  readonly #socket: Socket
  #owner: LinkOwner | undefined
  #failure: Failure | undefined
  /** The owner saw bytes buffered and waits to hear that they left. */
  #owesDrain = false
  #isEnding = false
  #lingerTimer: NodeJS.Timeout | undefined

  constructor(webSocket: WebSocket, socket: Socket, { remote, identity }: Peer) {
    this.remote = remote ?? remoteOf(socket)
    this.identity = identity
    this.#webSocket = webSocket
    this.#socket = socket
    socket.setNoDelay(true)
    probeLater(socket)
  }

  bind(owner: LinkOwner): void {
    this.#owner = owner
    const webSocket = this.#webSocket
    this.#socket.on('error', (error) => this.#fail(describeError(error), error))
    this.#socket.on('end', () => this.#linger())
    webSocket.on('error', (error) => this.#fail(error.message, error))
    webSocket.on('close', () => {
      probeNoMore(this.#socket)
      clearTimeout(this.#lingerTimer)
      owner.onClosed(this.#failure)
    })
    webSocket.on('message', (bytes: Buffer, isBinary) => {
      if (this.#isEnding) return
      if (isBinary)
        owner.receive(bytes) // [MQTT-6.0.0-2]
      else this.#refuseText()
    })
    webSocket.on('ping', (bytes) => {
      if (webSocket.bufferedAmount < pongBufferedBytesMax) webSocket.pong(bytes)
    })
  }

  get bufferedByteCount(): number {
    return this.#webSocket.bufferedAmount
  }

  send(pieces: readonly Buffer[]): void {
    const webSocket = this.#webSocket
    if (webSocket.readyState !== WebSocket.OPEN) return
    const [first, ...more] = pieces
    if (first === undefined) return
    webSocket.send(more.length === 0 ? first : Buffer.concat(pieces), this.#onWritten)
    if (webSocket.bufferedAmount > 0) this.#owesDrain = true
  }

  pause(): void {
    this.#webSocket.pause()
  }

  resume(): void {
    this.#webSocket.resume()
  }

  end(): void {
    this.#close(normalClosure)
  }

  destroy(): void {
    this.#isEnding = true
    this.#webSocket.terminate()
  }

  readonly #onWritten = (error: Error | null | undefined): void => {
    if (error || this.#socket.destroyed || this.#webSocket.bufferedAmount > 0 || !this.#owesDrain) return
    this.#owesDrain = false
    this.#owner?.onDrain()
  }

  #refuseText(): void {
    this.#fail('the peer sent text, where MQTT is binary')
    this.#close(unsupportedMessage) // [MQTT-6.0.0-1]
  }

  #close(status: number): void {
    this.#isEnding = true
    this.#webSocket.close(status)
    // The answer of the peer stands behind what it sent before: all of that is read and dropped.
    this.#webSocket.resume()
  }

  #fail(reason: string, cause?: Error): void {
    this.#failure ??= new Failure('ERR_LINK_CLOSED', `${this.remote}: ${reason}`, cause)
  }

  #linger(): void {
    this.#lingerTimer ??= setTimeout(() => this.#socket.destroy(), lingerMs)
  }
}
