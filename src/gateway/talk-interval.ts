/**
 * When a device that only talks has fallen silent: four times the interval at which it talks, as learned, and never
 * less than half a minute.
 */
const factor = 4
const shortestMs = 30_000
const longestMs = 86_400_000
/** How much one interval counts. */
const share = 1 / 8

export class TalkInterval {
  #averageMs: number | undefined
  #heardAtMs: number | undefined

  /** Something that made sense came. */
  heard(nowMs: number): void {
    if (this.#heardAtMs !== undefined) {
      const intervalMs = nowMs - this.#heardAtMs
      this.#averageMs =
        this.#averageMs === undefined ? intervalMs : this.#averageMs + (intervalMs - this.#averageMs) * share
    }
    this.#heardAtMs = nowMs
  }

  /** From then on it counts as silent. `Infinity` before it has talked twice. */
  get silentAtMs(): number {
    if (this.#heardAtMs === undefined || this.#averageMs === undefined) return Number.POSITIVE_INFINITY
    return this.#heardAtMs + Math.min(longestMs, Math.max(shortestMs, factor * this.#averageMs))
  }

  /** The line was opened anew: how often it talks is still known. */
  restart(): void {
    this.#heardAtMs = undefined
  }
}
