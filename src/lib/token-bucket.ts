/**
 * A rate as a bucket: filled evenly, and holding at most what may come in one second. Whoever takes more than there is
 * is not refused: the content goes below zero, and nothing should be taken until it is even again.
 */
export class TokenBucket {
  readonly #perSecond: number
  #content: number
  /** When it was filled last. */
  #filledMs: number

  /** @param perSecond above 0; Infinity = never empty */
  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond
    this.#content = perSecond
    this.#filledMs = nowMs
  }

  take(count: number, nowMs: number): void {
    if (this.#perSecond === Number.POSITIVE_INFINITY) return
    this.#fill(nowMs)
    this.#content -= count
  }

  /** 0 = something may be taken now. */
  msUntilEven(nowMs: number): number {
    if (this.#perSecond === Number.POSITIVE_INFINITY) return 0
    this.#fill(nowMs)
    return this.#content >= 0 ? 0 : (-this.#content / this.#perSecond) * 1000
  }

  #fill(nowMs: number): void {
    const passedMs = nowMs - this.#filledMs
    this.#filledMs = nowMs
    this.#content = Math.min(this.#perSecond, this.#content + (this.#perSecond * passedMs) / 1000)
  }
}
