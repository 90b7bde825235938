/**
 * The way out: frames to bytes, and an estimate of when they have left. A tty takes far more bytes than its line
 * carries in a moment; who knows when the line runs dry can keep the next frame back, so that an acknowledgement
 * still overtakes it, and does not mistake waiting in a buffer for silence of the peer.
 */
import type { Clock } from '../ports/clock.ts'
import { lineMs } from './line-rate.ts'
import { encodeFrame, type LinkFrame } from './link-frame.ts'

export class LinkLine {
  readonly #baudRate: number
  readonly #clock: Clock
  readonly #out: (bytes: Buffer) => void
  #freeAtMs = 0

  /** @param out takes ownership of the bytes; they may be lost. */
  constructor(baudRate: number, clock: Clock, out: (bytes: Buffer) => void) {
    this.#baudRate = baudRate
    this.#clock = clock
    this.#out = out
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
    const bytes = encodeFrame(frame)
    this.#freeAtMs = Math.max(this.#freeAtMs, this.#clock.nowMs()) + this.durationMs(bytes.length)
    this.#out(bytes)
  }

  /** The line was opened anew: nothing is under way. */
  clear(): void {
    this.#freeAtMs = 0
  }
}
