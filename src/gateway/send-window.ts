/**
 * The sending half of go-back-N: a byte queue, cut into numbered frames as the peer's window allows, and the frames
 * that are not acknowledged yet. A frame keeps its bytes when it is sent again; its number stands for exactly them.
 *
 * Frames get shorter on a noisy line: a loss halves the length of the next ones, each acknowledgement adds a little.
 * On a line with bit error rate p that settles where the frames lost and the headers paid are about equal.
 */
import { assert, must } from '../lib/assert.ts'
import { frameOverheadBytes, wireBytesMax } from './link-frame.ts'
import { mtuBytesMax, mtuBytesMin } from './link-hello.ts'

export interface FlightFrame {
  readonly seq: number
  readonly payload: Buffer
  /** Bytes on the wire at most. */
  readonly wireBytes: number
  sendCount: number
  /** When its last copy has left the line, by estimate. */
  leftAtMs: number
}

export interface WindowLimits {
  /** Of both ends, the smaller. */
  readonly mtuBytes: number
  readonly creditBytes: number
  readonly windowFrames: number
}

/** What one acknowledged frame adds to the length of the next ones. */
const growthBytes = 4

/** The shortest frames that are worth their header. */
const payloadBytesMin = mtuBytesMin - frameOverheadBytes

export class SendWindow {
  #limits: WindowLimits = { mtuBytes: mtuBytesMin, creditBytes: 0, windowFrames: 1 }
  #queue: Buffer[] = []
  #queuedByteCount = 0
  #frames: FlightFrame[] = []
  #flightPayloadBytes = 0
  #flightWireBytes = 0
  /** Index in `#frames` of the next one to send again; their count when none is. */
  #cursor = 0
  #nextSeq = 0
  /** Survives conversations: it knows the line, not the peer. */
  #payloadBytes = mtuBytesMax

  /** Begins an empty stream towards a peer with these limits. */
  open(limits: WindowLimits): void {
    this.clear()
    this.#limits = limits
    this.#payloadBytes = Math.min(this.#payloadBytes, this.#payloadBytesMax)
  }

  /** Forgets the stream. */
  clear(): void {
    this.#queue = []
    this.#queuedByteCount = 0
    this.#frames = []
    this.#flightPayloadBytes = 0
    this.#flightWireBytes = 0
    this.#cursor = 0
    this.#nextSeq = 0
  }

  /** Takes ownership of `bytes`. */
  push(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#queue.push(bytes)
    this.#queuedByteCount += bytes.length
  }

  /** Bytes of the stream that the peer has not acknowledged. */
  get bufferedByteCount(): number {
    return this.#queuedByteCount + this.#flightPayloadBytes
  }

  /** The number of the next new frame. */
  get nextSeq(): number {
    return this.#nextSeq
  }

  /** The oldest frame that is not acknowledged. */
  get oldest(): FlightFrame | undefined {
    return this.#frames[0]
  }

  /** true while frames wait to be sent again. */
  get isGoingBack(): boolean {
    return this.#cursor < this.#frames.length
  }

  /** true when the window takes another new frame and there are bytes for it. */
  get canGrow(): boolean {
    if (this.#queuedByteCount === 0 || this.#frames.length >= this.#limits.windowFrames) return false
    // One frame may always be on its way, whatever the credit.
    return this.#frames.length === 0 || this.#flightWireBytes + this.#nextWireBytes <= this.#limits.creditBytes
  }

  /** The next frame to send again. Only while `isGoingBack`. */
  again(): FlightFrame {
    return must(this.#frames[this.#cursor++], 'frame to send again')
  }

  /** Cuts a new frame. Only while `canGrow` and not `isGoingBack`. */
  grow(): FlightFrame {
    const wireBytes = this.#nextWireBytes
    const payload = this.#take(this.#nextPayloadBytes)
    const frame = { seq: this.#nextSeq, payload, wireBytes, sendCount: 0, leftAtMs: 0 }
    this.#nextSeq = (this.#nextSeq + 1) & 0xff
    this.#frames.push(frame)
    this.#cursor = this.#frames.length
    this.#flightPayloadBytes += payload.length
    this.#flightWireBytes += wireBytes
    return frame
  }

  /** The peer has every frame before number `ack`. Answers those that were in flight; none when `ack` is no such number. */
  acknowledge(ack: number): readonly FlightFrame[] {
    const count = this.#frames.length - ((this.#nextSeq - ack) & 0xff)
    if (count <= 0 || count > this.#frames.length) return []
    const done = this.#frames.splice(0, count)
    this.#cursor = Math.max(0, this.#cursor - count)
    for (const frame of done) {
      this.#flightPayloadBytes -= frame.payload.length
      this.#flightWireBytes -= frame.wireBytes
    }
    this.#payloadBytes = Math.min(this.#payloadBytesMax, this.#payloadBytes + count * growthBytes)
    return done
  }

  /** Everything in flight is sent again, from the oldest on. */
  goBack(): void {
    this.#cursor = 0
    this.#payloadBytes = Math.min(this.#payloadBytesMax, Math.max(payloadBytesMin, this.#payloadBytes >>> 1))
  }

  get #nextPayloadBytes(): number {
    return Math.min(this.#payloadBytes, this.#queuedByteCount)
  }

  get #nextWireBytes(): number {
    return wireBytesMax(this.#nextPayloadBytes)
  }

  /** The longest payload that both the peer's frame limit and its credit take. */
  get #payloadBytesMax(): number {
    const { mtuBytes, creditBytes } = this.#limits
    const credited = creditBytes - wireBytesMax(0) - Math.ceil(creditBytes / 254)
    return Math.max(1, Math.min(mtuBytes - frameOverheadBytes, credited))
  }

  #take(byteCount: number): Buffer {
    const taken = Buffer.allocUnsafe(byteCount)
    let filled = 0
    while (filled < byteCount) {
      const piece = this.#queue[0]
      assert(piece !== undefined, 'the send queue counts more bytes than it has')
      const count = piece.copy(taken, filled, 0, byteCount - filled)
      filled += count
      if (count === piece.length) this.#queue.shift()
      else this.#queue[0] = piece.subarray(count)
    }
    this.#queuedByteCount -= byteCount
    return taken
  }
}
