/**
 * How fast one client may send, where its listener says so: two buckets, filled evenly, each holding what may come in
 * one second. A chunk is always taken whole, so a bucket can go below empty; the client is then not listened to until
 * it is even again. Nothing is dropped and nobody is disconnected.
 */
import { type TimerWheel, WheelTimer } from '../lib/timer-wheel.ts'
import type { Clock } from '../ports/clock.ts'
import type { ClientRates } from '../ports/transport.ts'
import { Hold, type Intake } from './intake.ts'

export class Pace {
  readonly #clock: Clock
  readonly #wheel: TimerWheel
  readonly #intake: Intake
  readonly #messagesPerSecond: number
  readonly #bytesPerSecond: number
  readonly #timer: WheelTimer
  #messageCount: number
  #byteCount: number
  /** When the buckets were filled last. */
  #filledMs: number

  constructor(clock: Clock, wheel: TimerWheel, intake: Intake, rates: ClientRates) {
    this.#clock = clock
    this.#wheel = wheel
    this.#intake = intake
    this.#messagesPerSecond = rates.messagesPerSecondMax ?? Number.POSITIVE_INFINITY
    this.#bytesPerSecond = rates.bytesPerSecondMax ?? Number.POSITIVE_INFINITY
    this.#messageCount = this.#messagesPerSecond
    this.#byteCount = this.#bytesPerSecond
    this.#filledMs = clock.nowMs()
    this.#timer = new WheelTimer(() => intake.release(Hold.rate))
  }

  took(messageCount: number, byteCount: number): void {
    const nowMs = this.#clock.nowMs()
    const passedMs = nowMs - this.#filledMs
    this.#filledMs = nowMs
    this.#messageCount = filled(this.#messageCount, this.#messagesPerSecond, passedMs) - messageCount
    this.#byteCount = filled(this.#byteCount, this.#bytesPerSecond, passedMs) - byteCount
    const waitMs = Math.max(
      msUntilEven(this.#messageCount, this.#messagesPerSecond),
      msUntilEven(this.#byteCount, this.#bytesPerSecond),
    )
    if (waitMs === 0) return
    this.#intake.hold(Hold.rate)
    this.#wheel.schedule(this.#timer, nowMs + waitMs)
  }

  close(): void {
    this.#wheel.cancel(this.#timer)
  }
}

function filled(content: number, perSecond: number, passedMs: number): number {
  if (perSecond === Number.POSITIVE_INFINITY) return perSecond
  return Math.min(perSecond, content + (perSecond * passedMs) / 1000)
}

function msUntilEven(content: number, perSecond: number): number {
  return content >= 0 ? 0 : (-content / perSecond) * 1000
}
