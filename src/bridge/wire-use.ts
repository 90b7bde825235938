/** Bytes of the last 24 hours, hour by hour: what a metered line costs. */
const hourMs = 3_600_000
const hourCount = 24

export class WireUse {
  /** By hour; the hour of a day before is overwritten. */
  readonly #bytes = new Array<number>(hourCount).fill(0)
  #hour = 0
  #counted = 0

  /** @param total bytes since the start, of the process or of a new way up */
  observe(total: number, nowMs: number): void {
    if (total < this.#counted) this.#counted = 0
    const hour = Math.floor(nowMs / hourMs)
    for (let passed = Math.max(this.#hour + 1, hour - hourCount + 1); passed <= hour; passed++) {
      this.#bytes[passed % hourCount] = 0
    }
    this.#hour = hour
    this.#bytes[hour % hourCount] = (this.#bytes[hour % hourCount] ?? 0) + total - this.#counted
    this.#counted = total
  }

  get bytesPerDay(): number {
    return this.#bytes.reduce((sum, bytes) => sum + bytes, 0)
  }
}
