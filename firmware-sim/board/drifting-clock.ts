/** A clock with a cheap crystal: it runs fast or slow by some parts per million, and so do its timers. */
import type { DeviceClock, DeviceTimer } from '../clock.ts'

export class DriftingClock implements DeviceClock {
  readonly #clock: DeviceClock
  readonly #speed: number
  readonly #startMs: number
  readonly #startWallMs: number

  /** @param ppm above 0: fast */
  constructor(clock: DeviceClock, ppm: number) {
    this.#clock = clock
    this.#speed = 1 + ppm / 1_000_000
    this.#startMs = clock.nowMs()
    this.#startWallMs = clock.wallMs()
  }

  nowMs(): number {
    return this.#startMs + this.#sinceMs
  }

  /** Set once, at the start: a board without a network time drifts away from it. */
  wallMs(): number {
    return Math.round(this.#startWallMs + this.#sinceMs)
  }

  after(delayMs: number, task: () => void): DeviceTimer {
    return this.#clock.after(delayMs / this.#speed, task)
  }

  get #sinceMs(): number {
    return (this.#clock.nowMs() - this.#startMs) * this.#speed
  }
}
