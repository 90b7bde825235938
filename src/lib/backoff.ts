/**
 * How long to wait before the next attempt: decorrelated jitter. Each delay is drawn between the base and three times
 * the delay before it, so that a thousand gateways that lost one cloud in the same instant do not return in one.
 */
import { assert } from './assert.ts'

export class Backoff {
  readonly #baseMs: number
  readonly #capMs: number
  readonly #next: () => number
  #previousMs: number

  /**
   * @param baseMs shortest delay, above 0
   * @param capMs longest delay, at least `baseMs`
   * @param next a random float in [0, 1)
   */
  constructor(baseMs: number, capMs: number, next: () => number) {
    assert(baseMs > 0 && capMs >= baseMs, 'backoff bounds')
    this.#baseMs = baseMs
    this.#capMs = capMs
    this.#next = next
    this.#previousMs = baseMs
  }

  /** The delay before the next attempt. @example clock.after(backoff.nextMs(), () => dial()) */
  nextMs(): number {
    const spanMs = this.#previousMs * 3 - this.#baseMs
    this.#previousMs = Math.min(this.#capMs, Math.round(this.#baseMs + this.#next() * spanMs))
    return this.#previousMs
  }

  /** An attempt held: the next delay is drawn near the base again. */
  reset(): void {
    this.#previousMs = this.#baseMs
  }
}
