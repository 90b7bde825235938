/**
 * The way out: frames to bytes, and an estimate of when they have left. A tty takes far more bytes than its line
 * carries in a moment; who knows when the line runs dry can keep the next frame back, so that an acknowledgement
 * still overtakes it, and does not mistake waiting in a buffer for silence of the peer.
 *
 * Over USB and TCP the baud rate says nothing about the speed. Acknowledgements that come before their frame can have
 * left show it; from then on a frame counts as gone when it is written.
 */
import type { Clock } from '../ports/clock.ts'
import { lineMs } from './line-rate.ts'
import { encodeFrame, type LinkFrame } from './link-frame.ts'

/** So many in a row prove it: one could come from a clock that jumped. */
const earlyMax = 2
/** What a clock of whole milliseconds and a UART that is two percent fast cannot explain. */
const earlyMsMin = 2

export interface Side {
  readonly address: number | undefined
  readonly flag: number
}

export class LinkLine {
  #baudRate: number
  readonly #clock: Clock
  readonly #out: (bytes: Buffer, type: number) => void
  readonly #side: Side
  #freeAtMs = 0
  #earlyCount = 0

  /**
   * @param out takes ownership of the bytes; they may be lost.
   * @param side in every frame: the address of the peer on a bus, else the flag of who speaks
   */
  constructor(baudRate: number, clock: Clock, out: (bytes: Buffer, type: number) => void, side: Side) {
    this.#baudRate = baudRate
    this.#clock = clock
    this.#out = out
    this.#side = side
  }

  /** When everything written has left the line. */
  get freeAtMs(): number {
    return this.#freeAtMs
  }

  /** How long `byteCount` bytes are under way. */
  durationMs(byteCount: number): number {
    return lineMs(byteCount, this.#baudRate)
  }

  write(frame: LinkFrame): void {
    const { address, flag } = this.#side
    const bytes = encodeFrame({ ...frame, flags: frame.flags | flag, address })
    this.#freeAtMs = this.leavesAtMs(bytes.length)
    this.#out(bytes, frame.type)
  }

  /** When `byteCount` bytes written now will have left. */
  leavesAtMs(byteCount: number): number {
    const nowMs = this.#clock.nowMs()
    return this.#isFast ? nowMs : Math.max(this.#freeAtMs, nowMs) + this.durationMs(byteCount)
  }

  /** A frame of `byteCount` bytes that was sent once, and was to have left at `leftAtMs`, is acknowledged. */
  onAcknowledged(byteCount: number, leftAtMs: number): void {
    if (this.#isFast) return
    const earlyMs = leftAtMs - this.#clock.nowMs()
    const isEarly = earlyMs >= earlyMsMin && earlyMs > this.durationMs(byteCount) / 2
    this.#earlyCount = isEarly ? this.#earlyCount + 1 : 0
    if (this.#isFast) this.#freeAtMs = 0
  }

  /** No acknowledgement came: believes in the baud rate again. */
  onTimeout(): void {
    this.#earlyCount = 0
  }

  /** From now on. What was written is gone before the rate changes. */
  changeRate(baudRate: number): void {
    this.#baudRate = baudRate
  }

  /** The line was opened anew: nothing is under way. */
  clear(): void {
    this.#freeAtMs = 0
    this.#earlyCount = 0
  }

  get #isFast(): boolean {
    return this.#earlyCount >= earlyMax
  }
}
