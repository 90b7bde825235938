/** A long walk in slices, one for each turn of the event loop, so that nobody waits for it. */
import type { Clock } from '../ports/clock.ts'

/** A millisecond or two on a small gateway. */
const stepsPerTurn = 512

export class SlicedWalk<Found> {
  readonly #clock: Clock
  readonly #steps: Iterator<Found | undefined>
  readonly #onFound: (found: Found) => void
  readonly #onEnd: () => void
  #isCancelled = false

  /**
   * Begins with the next turn.
   * @param steps with undefined for those that came upon nothing
   */
  constructor(clock: Clock, steps: Iterator<Found | undefined>, onFound: (found: Found) => void, onEnd: () => void) {
    this.#clock = clock
    this.#steps = steps
    this.#onFound = onFound
    this.#onEnd = onEnd
    clock.afterTurn(() => this.#slice())
  }

  cancel(): void {
    this.#isCancelled = true
  }

  #slice(): void {
    for (let left = stepsPerTurn; left > 0 && !this.#isCancelled; left--) {
      const { done, value } = this.#steps.next()
      if (done) {
        this.#onEnd()
        return
      }
      if (value !== undefined) this.#onFound(value)
    }
    if (!this.#isCancelled) this.#clock.afterTurn(() => this.#slice())
  }
}
