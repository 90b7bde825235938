/**
 * The Clock port on the machine's monotonic clock. That clock starts anew with each power-up, so the timeline is
 * monotonic time plus an offset: in the same run of the machine the offset is taken over, and the time during which
 * no process ran counts; after a power-up the timeline goes on where it is known to have been. The wall clock has no say.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { SystemClock, Timeline, Timer } from '../../ports/clock.ts'

/** Longer delays would overflow the system's timers and fire at once. */
const timerMsMax = 2 ** 31 - 1

/** @param saved what `timeline()` answered in an earlier run; undefined starts a timeline at 0 */
export function createSystemClock(saved: Timeline | undefined): SystemClock {
  const bootId = readBootId()
  // performance.now() counts the same clock, from the start of the process, and allocates nothing.
  const startMs = Number(process.hrtime.bigint()) / 1e6 - performance.now()
  const offsetMs = saved?.bootId === bootId ? saved.offsetMs : (saved?.lastMs ?? 0) - startMs - performance.now()
  const nowMs = (): number => startMs + performance.now() + offsetMs
  return {
    nowMs,
    wallMs: () => Date.now(),
    afterTurn: (task) => {
      setImmediate(task)
    },
    after: startTimer,
    timeline: () => ({ bootId, offsetMs, lastMs: nowMs() }),
  }
}

function startTimer(delayMs: number, task: () => void): Timer {
  const timer = new SystemTimer(task)
  timer.arm(Math.ceil(delayMs))
  return timer
}

class SystemTimer implements Timer {
  readonly #task: () => void
  #timeout: NodeJS.Timeout | undefined

  constructor(task: () => void) {
    this.#task = task
  }

  arm(delayMs: number): void {
    const leftMs = delayMs - timerMsMax
    this.#timeout = leftMs > 0 ? setTimeout(() => this.arm(leftMs), timerMsMax) : setTimeout(this.#task, delayMs)
  }

  cancel(): void {
    clearTimeout(this.#timeout)
  }
}

/** Linux names each run of the machine; elsewhere every process counts as a new one. */
function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
    return randomUUID()
  }
}
