/** How long messages took, for percentiles: counted in classes a twentieth apart, so that memory stays small. */
const growth = 1.05
const lowestMs = 0.1

export class Delays {
  readonly #counts: number[] = []
  count = 0
  longestMs = 0

  add(delayMs: number): void {
    const at = delayMs <= lowestMs ? 0 : Math.ceil(Math.log(delayMs / lowestMs) / Math.log(growth))
    this.#counts[at] = (this.#counts[at] ?? 0) + 1
    this.count++
    this.longestMs = Math.max(this.longestMs, delayMs)
  }

  merge(other: Delays): void {
    for (const [at, count] of other.#counts.entries()) {
      if (count !== undefined) this.#counts[at] = (this.#counts[at] ?? 0) + count
    }
    this.count += other.count
    this.longestMs = Math.max(this.longestMs, other.longestMs)
  }

  /** The time within which this share of the messages came, at most five percent too long. 0 without any. */
  percentileMs(share: number): number {
    let left = Math.ceil(this.count * share)
    for (const [at, count] of this.#counts.entries()) {
      left -= count ?? 0
      if (left <= 0) return Math.min(this.longestMs, lowestMs * growth ** at)
    }
    return this.longestMs
  }
}
