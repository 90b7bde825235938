/** Tells a disk that has become slow from one that was slow once. */

/** A commit that takes longer is slow. */
const slowMs = 250

/** So many slow ones in a row are told, and so many that are not. */
const slowRun = 3
const fastRun = 10

export class CommitPace {
  #isSlow = false
  /** Commits in a row that say the opposite. */
  #run = 0

  /** @returns what has changed: slow from now on, or no longer; undefined when nothing has */
  add(durationMs: number): { readonly durationMs: number | undefined } | undefined {
    if (durationMs > slowMs === this.#isSlow) {
      this.#run = 0
      return undefined
    }
    if (++this.#run < (this.#isSlow ? fastRun : slowRun)) return undefined
    this.#run = 0
    this.#isSlow = !this.#isSlow
    return { durationMs: this.#isSlow ? durationMs : undefined }
  }
}
