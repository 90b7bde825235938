/**
 * How long to wait before the next attempt: decorrelated jitter. Each delay is drawn between the base and three times
 * the delay before it. The first one has a span of its own: a thousand gateways that lost one cloud in the same instant
 * come back spread over it, and not within a second.
 */
import { assert } from './assert.ts'

export class Backoff {
  readonly #baseMs: number
  readonly #capMs: number
  readonly #next: () => number
  readonly #spreadMs: number
  #previousMs: number
  #isFirst = true

  /**
   * @param baseMs shortest delay, above 0
   * @param capMs longest delay, at least `baseMs`
   * @param next a random float in [0, 1)
   * @param spreadMs the first delay is up to so much longer than the base
   */
  constructor(baseMs: number, capMs: number, next: () => number, spreadMs = 2 * baseMs) {
    assert(baseMs > 0 && capMs >= baseMs && spreadMs >= 0, 'backoff bounds')
    this.#spreadMs = spreadMs
    this.#baseMs = baseMs
    this.#capMs = capMs
    this.#next = next
    this.#previousMs = baseMs
  }

  /** The delay before the next attempt. @example clock.after(backoff.nextMs(), () => dial()) */
  nextMs(): number {
    const spanMs = this.#isFirst ? this.#spreadMs : this.#previousMs * 3 - this.#baseMs
    this.#isFirst = false
    this.#previousMs = Math.min(this.#capMs, Math.round(this.#baseMs + this.#next() * spanMs))
    return this.#previousMs
  }

  /** An attempt held: the next delay is a first one again. */
  reset(): void {
    this.#isFirst = true
    this.#previousMs = this.#baseMs
  }
}
