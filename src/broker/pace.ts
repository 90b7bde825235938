/**
 * How fast one client may send, where its listener says so: one bucket of messages and one of bytes. A chunk is
 * always taken whole; when a bucket is below empty then, the client is not listened to until it is even again. Nothing
 * is dropped and nobody is disconnected.
 */
import { type TimerWheel, WheelTimer } from '../lib/timer-wheel.ts'
import { TokenBucket } from '../lib/token-bucket.ts'
import type { Clock } from '../ports/clock.ts'
import type { ClientRates } from '../ports/transport.ts'
import { Hold, type Intake } from './intake.ts'

export class Pace {
  readonly #clock: Clock
  readonly #wheel: TimerWheel
  readonly #intake: Intake
  readonly #messages: TokenBucket
  readonly #bytes: TokenBucket
  readonly #timer: WheelTimer

  constructor(clock: Clock, wheel: TimerWheel, intake: Intake, rates: ClientRates) {
    const nowMs = clock.nowMs()
    this.#clock = clock
    this.#wheel = wheel
    this.#intake = intake
    this.#messages = new TokenBucket(rates.messagesPerSecondMax ?? Number.POSITIVE_INFINITY, nowMs)
    this.#bytes = new TokenBucket(rates.bytesPerSecondMax ?? Number.POSITIVE_INFINITY, nowMs)
    this.#timer = new WheelTimer(() => intake.release(Hold.rate))
  }

  took(messageCount: number, byteCount: number): void {
    const nowMs = this.#clock.nowMs()
    this.#messages.take(messageCount, nowMs)
    this.#bytes.take(byteCount, nowMs)
    const waitMs = Math.max(this.#messages.msUntilEven(nowMs), this.#bytes.msUntilEven(nowMs))
    if (waitMs === 0) return
    this.#intake.hold(Hold.rate)
    this.#wheel.schedule(this.#timer, nowMs + waitMs)
  }

  close(): void {
    this.#wheel.cancel(this.#timer)
  }
}
