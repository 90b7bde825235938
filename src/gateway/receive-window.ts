/**
 * The receiving half of go-back-N: which DATA frame is next, what is owed to the peer, and the bytes that wait while
 * the owner has paused. Frames are taken in order or not at all.
 */
import { FrameFlag, type LinkFrame } from './link-frame.ts'

/** A lone frame is acknowledged by itself after this time; a frame that goes out earlier carries the acknowledgement. */
const ackDelayMs = 20
/** So many frames are acknowledged at once. */
const ackFrames = 2

/** Within this time only a repeated frame that is still too early brings another NAK: it proves that the first one worked. */
const nakIntervalMs = 100

export class ReceiveWindow {
  /** When an acknowledgement is due at the latest. */
  ackAtMs = Number.POSITIVE_INFINITY
  readonly #heldBytesMax: number
  #expectedSeq = 0
  #unackedCount = 0
  #nakHoldUntilMs = 0
  #held: Buffer[] = []
  #heldByteCount = 0

  /** @param heldBytesMax the credit of this end: a peer that keeps to it finds room. */
  constructor(heldBytesMax: number) {
    this.#heldBytesMax = heldBytesMax
  }

  get expectedSeq(): number {
    return this.#expectedSeq
  }

  /** What to do with a DATA frame: pass its payload on, ask for the expected frame, or nothing. */
  take(frame: LinkFrame, isPaused: boolean, nowMs: number): 'deliver' | 'reject' | 'nothing' {
    const ahead = (frame.seq - this.#expectedSeq) & 0xff
    if (ahead >= 0x80) {
      this.ackAtMs = nowMs // An old frame: its acknowledgement was lost.
      return 'nothing'
    }
    if (ahead > 0) return this.mayReject((frame.flags & FrameFlag.retransmitted) !== 0, nowMs) ? 'reject' : 'nothing'
    const mustHold = isPaused || this.#held.length > 0
    if (mustHold && this.#heldByteCount + frame.payload.length > this.#heldBytesMax) return 'nothing'
    this.#expectedSeq = (this.#expectedSeq + 1) & 0xff
    this.#nakHoldUntilMs = 0
    this.#unackedCount++
    this.ackAtMs = Math.min(this.ackAtMs, this.#unackedCount < ackFrames ? nowMs + ackDelayMs : nowMs)
    if (!mustHold) return 'deliver'
    this.#held.push(Buffer.from(frame.payload))
    this.#heldByteCount += frame.payload.length
    return 'nothing'
  }

  /** true when a NAK is due: one for a gap, not one for every frame behind it. */
  mayReject(isRepeat: boolean, nowMs: number): boolean {
    if (nowMs < this.#nakHoldUntilMs && !isRepeat) return false
    this.#nakHoldUntilMs = nowMs + nakIntervalMs
    return true
  }

  /** A frame with the current `expectedSeq` goes out. */
  onAckSent(): void {
    this.#unackedCount = 0
    this.ackAtMs = Number.POSITIVE_INFINITY
  }

  /** The oldest bytes that wait for the owner. */
  takeHeld(): Buffer | undefined {
    const chunk = this.#held.shift()
    this.#heldByteCount -= chunk?.length ?? 0
    return chunk
  }
}
