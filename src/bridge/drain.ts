/**
 * How fast a backlog goes out and when it will be empty, from its size as time passes. A drain begins slowly, because
 * the line is tried first, so what counts is its last half, and of a long one the last minute.
 */

/** Sizes from so long ago count, and no longer ago than half of the drain. */
const memoryMs = 60_000
const memoryMsMin = 4000

/** A backlog that grows by more than it was and this is another backlog. */
const jumpCount = 100

/** Nothing is said about a drain that has not lasted this long. */
const settleMs = 5000

interface Size {
  readonly atMs: number
  readonly count: number
}

export class DrainRate {
  /** The last one at the end; empty while it stands still. Those that will not count any more are forgotten. */
  readonly #sizes: Size[] = []
  #sinceMs = 0

  /** The backlog moves from now on. */
  begin(count: number, nowMs: number): void {
    this.#sizes.length = 0
    this.#sizes.push({ atMs: nowMs, count })
    this.#sinceMs = nowMs
  }

  /** It stands still. */
  end(): void {
    this.#sizes.length = 0
  }

  /** Called about once a second. */
  observe(count: number, nowMs: number): void {
    const last = this.#sizes.at(-1)
    if (last === undefined || nowMs <= last.atMs) return
    // So many at once say nothing about how fast they will go.
    if (count > 2 * last.count + jumpCount) {
      this.begin(count, nowMs)
      return
    }
    this.#sizes.push({ atMs: nowMs, count })
    const memory = Math.max(memoryMsMin, Math.min(memoryMs, (nowMs - this.#sinceMs) / 2))
    while (this.#sizes.length > 2 && (this.#sizes[1] as Size).atMs <= nowMs - memory) this.#sizes.shift()
  }

  /**
   * Milliseconds until it is empty; 0 = it is; `Infinity` = it does not shrink; undefined = too early to tell.
   * @param count how many wait now
   */
  timeToEmptyMs(count: number): number | undefined {
    if (count === 0) return 0
    const last = this.#sizes.at(-1)
    if (last === undefined) return Number.POSITIVE_INFINITY
    if (last.atMs - this.#sinceMs < settleMs) return undefined
    const rate = this.#rate
    return rate <= 0 ? Number.POSITIVE_INFINITY : count / rate
  }

  /** Messages per second by which it shrinks. */
  get perSecond(): number {
    return Math.max(0, this.#rate * 1000)
  }

  /** Messages per millisecond; negative when it grows. */
  get #rate(): number {
    const first = this.#sizes[0]
    const last = this.#sizes.at(-1)
    if (first === undefined || last === undefined || last.atMs === first.atMs) return 0
    return (first.count - last.count) / (last.atMs - first.atMs)
  }
}
