/**
 * The Clock port without real time: it stands still until a test moves it. A due timer is one turn of the event loop:
 * its task runs, then everything that asked for the end of that turn. Equal due times run in the order of their
 * registration, so that a run is the same every time.
 */
import { assert } from '../../src/lib/assert.ts'
import type { Clock, Timer } from '../../src/ports/clock.ts'

/** End-of-turn tasks that keep asking for another one would hang a test; so many in a row are a bug. */
const roundsMax = 10_000

/** A delay that is lost in rounding would be due again and again at one moment. */
const shortestMs = 1e-6

export class VirtualClock implements Clock {
  /** Wall clock minus `nowMs`; a test sets it to make the wall clock jump. */
  wallOffsetMs = Date.UTC(2026, 0, 1)
  #nowMs: number
  /** By rising due time, equal ones in order of registration. */
  readonly #timers: VirtualTimer[] = []
  #turnTasks: (() => void)[] = []

  constructor(nowMs = 0) {
    this.#nowMs = nowMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return this.#nowMs + this.wallOffsetMs
  }

  afterTurn(task: () => void): void {
    this.#turnTasks.push(task)
  }

  after(delayMs: number, task: () => void): Timer {
    const timer = {
      dueMs: this.#nowMs + (delayMs > 0 ? Math.max(shortestMs, delayMs) : 0),
      task,
      cancel: () => this.#remove(timer),
    }
    this.#timers.splice(this.#firstAfter(timer.dueMs), 0, timer)
    return timer
  }

  /** Ends the current turn: runs what asked for it, and what that asks for in turn. Time stays where it is. */
  endTurn(): void {
    for (let rounds = 0; this.#turnTasks.length > 0; rounds++) {
      assert(rounds < roundsMax, 'end-of-turn tasks that never end')
      const tasks = this.#turnTasks
      this.#turnTasks = []
      for (const task of tasks) task()
    }
  }

  /** Moves on by `durationMs` and runs everything that falls due on the way, each at its own time. */
  advanceMs(durationMs: number): void {
    const untilMs = this.#nowMs + durationMs
    this.endTurn()
    while (this.#stepTo(untilMs));
    this.#nowMs = untilMs
  }

  /** Moves on until `condition` holds, at most by `durationMs`; answers whether it holds. */
  advanceUntil(condition: () => boolean, durationMs: number): boolean {
    const untilMs = this.#nowMs + durationMs
    this.endTurn()
    while (!condition()) {
      if (!this.#stepTo(untilMs)) {
        this.#nowMs = untilMs
        return condition()
      }
    }
    return true
  }

  /** Timers that wait: none are left once everything was closed. */
  get timerCount(): number {
    return this.#timers.length
  }

  /** Runs the next timer that is due by `untilMs` with its turn; false when there is none. */
  #stepTo(untilMs: number): boolean {
    const timer = this.#timers[0]
    if (timer === undefined || timer.dueMs > untilMs) return false
    this.#timers.shift()
    this.#nowMs = Math.max(this.#nowMs, timer.dueMs)
    timer.task()
    this.endTurn()
    return true
  }

  #firstAfter(dueMs: number): number {
    let low = 0
    let high = this.#timers.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#timers[middle] as VirtualTimer).dueMs <= dueMs) low = middle + 1
      else high = middle
    }
    return low
  }

  #remove(timer: VirtualTimer): void {
    const at = this.#timers.indexOf(timer)
    if (at >= 0) this.#timers.splice(at, 1)
  }
}

interface VirtualTimer extends Timer {
  readonly dueMs: number
  readonly task: () => void
}
