/** The clock of a process that a test can kill: turns of the event loop are real, time is the test's. */
import type { SystemClock, Timeline } from '../../src/ports/clock.ts'
import { VirtualClock } from './virtual-clock.ts'

export class KillableClock extends VirtualClock implements SystemClock {
  bootId = 'boot'
  #isHalted = false

  override afterTurn(task: () => void): void {
    setImmediate(() => {
      if (!this.#isHalted) task()
    })
  }

  timeline(): Timeline {
    return { bootId: this.bootId, offsetMs: 0, lastMs: this.nowMs() }
  }

  /** What a crash does: nothing that was asked for runs any more. */
  halt(): void {
    this.#isHalted = true
  }
}
