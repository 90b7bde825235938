/** Connections with bytes to write: each is written once, after the reads of this turn of the event loop. */
import type { Clock } from '../ports/clock.ts'

export interface Flushable {
  flush(): void
}

export class FlushQueue {
  readonly #clock: Clock
  #waiting: Flushable[] = []
  #isScheduled = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The caller adds itself once per turn. */
  add(connection: Flushable): void {
    this.#waiting.push(connection)
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#clock.afterTurn(this.#flush)
  }

  readonly #flush = (): void => {
    this.#isScheduled = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const connection of waiting) connection.flush()
  }
}
