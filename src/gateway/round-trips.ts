/** How long acknowledgements took lately: the last few hundred of them, for percentiles. */
const keptMax = 256

export class RoundTrips {
  readonly #ms: number[] = []
  #at = 0

  add(ms: number): void {
    this.#ms[this.#at] = ms
    this.#at = (this.#at + 1) % keptMax
  }

  /** In whole milliseconds; 0 before the first. */
  percentileMs(share: number): number {
    const sorted = [...this.#ms].sort((a, b) => a - b)
    return Math.round(sorted[Math.ceil(sorted.length * share) - 1] ?? 0)
  }
}
