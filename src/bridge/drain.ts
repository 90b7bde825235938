/** How fast a backlog goes out and when it will be empty, from its size as time passes. */

/** A rate of so long ago weighs 1/e of the present one. */
const memoryMs = 10_000

/** A backlog that grows by more than it was and this is another backlog. */
const jumpCount = 100

/** Nothing is said about a drain that has not lasted this long. */
const settleMs = 2000

export class DrainRate {
  #count = 0
  #atMs: number | undefined
  #sinceMs = 0
  /** Messages per millisecond by which the backlog shrinks; negative when it grows. */
  #rate = 0

  /** The backlog moves from now on. */
  begin(count: number, nowMs: number): void {
    this.#count = count
    this.#atMs = nowMs
    this.#sinceMs = nowMs
    this.#rate = 0
  }

  /** It stands still. */
  end(): void {
    this.#atMs = undefined
  }

  /** Called about once a second. */
  observe(count: number, nowMs: number): void {
    if (this.#atMs === undefined || nowMs <= this.#atMs) return
    // So many at once say nothing about how fast they will go.
    if (count > 2 * this.#count + jumpCount) {
      this.begin(count, nowMs)
      return
    }
    const elapsedMs = nowMs - this.#atMs
    const rate = (this.#count - count) / elapsedMs
    const lastedMs = nowMs - this.#sinceMs
    // The first observations count in full: an average that begins with nothing would promise too long.
    const weight = 1 - Math.exp(-elapsedMs / Math.min(memoryMs, lastedMs))
    this.#rate += (rate - this.#rate) * (lastedMs === elapsedMs ? 1 : weight)
    this.#count = count
    this.#atMs = nowMs
  }

  /**
   * Milliseconds until it is empty; 0 = it is; `Infinity` = it does not shrink; undefined = too early to tell.
   * @param count how many wait now
   */
  timeToEmptyMs(count: number): number | undefined {
    if (count === 0) return 0
    if (this.#atMs === undefined) return Number.POSITIVE_INFINITY
    if (this.#atMs - this.#sinceMs < settleMs) return undefined
    return this.#rate <= 0 ? Number.POSITIVE_INFINITY : count / this.#rate
  }

  /** Messages per second by which it shrinks. */
  get perSecond(): number {
    return Math.max(0, this.#rate * 1000)
  }
}
