/** Tells when a device that only talks has fallen silent (talk-interval.ts). One timer, set anew only when it rings. */
import type { Clock, Timer } from '../ports/clock.ts'
import { TalkInterval } from './talk-interval.ts'

export class SilenceWatch {
  readonly #clock: Clock
  readonly #onSilent: () => void
  readonly #interval = new TalkInterval()
  #timer: Timer | undefined

  constructor(clock: Clock, onSilent: () => void) {
    this.#clock = clock
    this.#onSilent = onSilent
  }

  heard(): void {
    this.#interval.heard(this.#clock.nowMs())
    if (this.#timer === undefined) this.#wait()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#interval.restart()
  }

  #wait(): void {
    const leftMs = this.#interval.silentAtMs - this.#clock.nowMs()
    if (leftMs === Number.POSITIVE_INFINITY) return
    this.#timer = this.#clock.after(Math.max(0, leftMs), () => this.#look())
  }

  #look(): void {
    this.#timer = undefined
    if (this.#clock.nowMs() < this.#interval.silentAtMs) {
      this.#wait()
      return
    }
    this.#interval.restart()
    this.#onSilent()
  }
}
