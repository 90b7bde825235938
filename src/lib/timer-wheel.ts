/**
 * One wheel for every keep-alive, expiry and delay. Time is cut into ticks; a task is due at the first tick that is
 * not before its deadline. Scheduling, moving and cancelling are O(1) and allocate nothing: a timer is itself the
 * list element.
 *
 * Four levels of 256 slots, like the hands of a clock: a slot of level k spans 256^k ticks. A timer waits in the
 * lowest level whose whole turn reaches its deadline, and comes down one or more levels when the hand arrives at its
 * slot. Beyond the last level it waits in the furthest slot and is placed anew from there.
 *
 *   level 0  | one tick per slot                 <- runs
 *   level 1  | 256 ticks per slot                <- emptied into level 0 every 256 ticks
 *   level 2, 3 likewise
 *
 * Invariant: no timer waits for a tick at or before the hand. The hand skips the turns of empty levels, so a jump of
 * fifty years costs no more than the timers in it.
 */
import { assert } from './assert.ts'

const slotCount = 256
const levelCount = 4

/** Ticks that one slot of each level spans; the last entry is the span of the whole wheel. */
const spans = [1, slotCount, slotCount ** 2, slotCount ** 3, slotCount ** 4] as const

/** Element of a circular list; alone it is an empty list. */
class Ring {
  next: Ring = this
  previous: Ring = this
}

/** Owned by whoever waits, and scheduled as often as wanted. The fields besides `isScheduled` belong to the wheel. */
export class WheelTimer extends Ring {
  readonly task: () => void
  /** The tick it is due at. */
  tick = 0
  /** The level it waits in, -1 when it is not scheduled. */
  level = -1

  constructor(task: () => void) {
    super()
    this.task = task
  }

  get isScheduled(): boolean {
    return this.level >= 0
  }
}

export class TimerWheel {
  readonly #tickMs: number
  readonly #levels = Array.from({ length: levelCount }, () => Array.from({ length: slotCount }, () => new Ring()))
  readonly #timerCounts = new Array<number>(levelCount).fill(0)
  /** The hand: everything due up to this tick has run. */
  #tick: number
  /** Where the hand is going; equal to it outside `advance`. */
  #targetTick: number

  /**
   * @param tickMs resolution, above 0
   * @param nowMs where the timeline stands
   */
  constructor(tickMs: number, nowMs: number) {
    assert(tickMs > 0, 'tick length')
    this.#tickMs = tickMs
    this.#tick = Math.floor(nowMs / tickMs)
    this.#targetTick = this.#tick
  }

  /**
   * `timer` runs once, in the first `advance` that reaches a tick at or after `atMs`; moved when already scheduled. What
   * is due already runs one tick later, also when a running task schedules it: no task can keep `advance` busy.
   *
   * @example wheel.schedule(timer, clock.nowMs() + keepAliveMs)
   */
  schedule(timer: WheelTimer, atMs: number): void {
    assert(!Number.isNaN(atMs), 'deadline that is not a number')
    this.cancel(timer)
    timer.tick = Math.max(Math.ceil(atMs / this.#tickMs), this.#targetTick + 1)
    this.#place(timer)
  }

  /** Nothing happens when it is not scheduled. */
  cancel(timer: WheelTimer): void {
    if (timer.level >= 0) this.#unlink(timer)
  }

  /** Runs every task due at `nowMs`: none early, none more than a tick late. A time before the last one is ignored. */
  advance(nowMs: number): void {
    const target = Math.floor(nowMs / this.#tickMs)
    if (target <= this.#targetTick) return
    this.#targetTick = target
    while (this.#tick < target) {
      this.#tick = Math.min(target, this.#nextBusyTick())
      this.#bringDown()
      this.#run(this.#slot(0, this.#tick))
    }
  }

  /** The next tick at which anything can be due or come down: empty levels are passed in one step. */
  #nextBusyTick(): number {
    let level = 0
    while (level < levelCount && this.#timerCounts[level] === 0) level++
    const span = spans[level] as number
    return (Math.floor(this.#tick / span) + 1) * span
  }

  /** Places anew what waits in the upper slots that begin at this tick. */
  #bringDown(): void {
    for (let level = levelCount - 1; level > 0; level--) {
      if (this.#tick % (spans[level] as number) !== 0) continue
      const slot = this.#slot(level, this.#tick)
      while (slot.next !== slot) {
        const timer = slot.next as WheelTimer
        this.#unlink(timer)
        this.#place(timer)
      }
    }
  }

  /** Takes one timer at a time, for a task may cancel or move any other. */
  #run(slot: Ring): void {
    while (slot.next !== slot) {
      const timer = slot.next as WheelTimer
      this.#unlink(timer)
      timer.task()
    }
  }

  #place(timer: WheelTimer): void {
    const tick = Math.min(timer.tick, this.#tick + (spans[levelCount] as number) - 1)
    let level = 0
    while (tick - this.#tick >= (spans[level + 1] as number)) level++
    timer.level = level
    this.#timerCounts[level] = (this.#timerCounts[level] as number) + 1
    const slot = this.#slot(level, tick)
    timer.previous = slot.previous
    timer.next = slot
    slot.previous.next = timer
    slot.previous = timer
  }

  #unlink(timer: WheelTimer): void {
    this.#timerCounts[timer.level] = (this.#timerCounts[timer.level] as number) - 1
    timer.level = -1
    timer.previous.next = timer.next
    timer.next.previous = timer.previous
    timer.next = timer
    timer.previous = timer
  }

  #slot(level: number, tick: number): Ring {
    const slots = this.#levels[level] as Ring[]
    return slots[Math.floor(tick / (spans[level] as number)) % slotCount] as Ring
  }
}
