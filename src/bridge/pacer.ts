/**
 * How fast a bridge sends. A window of messages under way grows while answers are quick and shrinks when they become
 * slow or the remote broker has enough; a token bucket keeps the rate that somebody asked for. One message per round
 * trip is timed, so that it costs nothing per message.
 *
 *   answer within 1.5 times the usual: window + 5 %      later than 3 times, or refused for now: window * 0.7
 *
 * A new line begins with a small window, which grows by 25 % until an answer is late for the first time.
 */
import type { Clock } from '../ports/clock.ts'
import { ReasonCode } from '../protocol/reason.ts'

/** Below this nothing is slow: group commits at both ends take as long. */
const usualMsMin = 20

const growth = 1.05
const growthAtFirst = 1.25
const shrinkage = 0.7
const windowMin = 4
const windowAtFirst = 64

/** The quickest answer of so many rounds is the usual one. */
const roundsRemembered = 64

export interface Pace {
  /** Messages per second. */
  readonly rate: number
  /** Messages that may go at once after a pause. */
  readonly burst: number
}

export class Pacer {
  readonly #clock: Clock
  #windowMax = 1
  #window = 1
  /** No answer was late yet. */
  #isNew = true
  /** Of the last rounds, by time. */
  readonly #roundTripsMs: number[] = []
  /** The message whose answer is timed; 0 = the next one. */
  #timedPacketId = 0
  #timedAtMs = 0
  #pace: Pace | undefined
  #tokens = 0
  #filledAtMs = 0

  constructor(clock: Clock, pace: Pace | undefined) {
    this.#clock = clock
    this.setPace(pace)
  }

  /** Messages that may be under way. */
  get window(): number {
    return Math.floor(this.#window)
  }

  /** A connection that allows `windowMax` messages under way. What was learned of the line stays. */
  connected(windowMax: number): void {
    this.#window = Math.min(windowMax, this.#windowMax === 1 ? windowAtFirst : Math.max(this.#window, windowMin))
    this.#windowMax = windowMax
    this.#timedPacketId = 0
  }

  /** @param pace undefined = as fast as the line allows */
  setPace(pace: Pace | undefined): void {
    this.#pace = pace
    this.#tokens = pace?.burst ?? 0
    this.#filledAtMs = this.#clock.nowMs()
  }

  /** How long the next message must wait for the asked rate; 0 = not at all. */
  get waitMs(): number {
    const pace = this.#pace
    if (pace === undefined) return 0
    const nowMs = this.#clock.nowMs()
    this.#tokens = Math.min(pace.burst, this.#tokens + ((nowMs - this.#filledAtMs) / 1000) * pace.rate)
    this.#filledAtMs = nowMs
    return this.#tokens >= 1 ? 0 : ((1 - this.#tokens) / pace.rate) * 1000
  }

  sent(packetId: number): void {
    if (this.#pace !== undefined) this.#tokens--
    if (this.#timedPacketId !== 0 || packetId === 0) return
    this.#timedPacketId = packetId
    this.#timedAtMs = this.#clock.nowMs()
  }

  acknowledged(packetId: number): void {
    if (packetId !== this.#timedPacketId) return
    this.#timedPacketId = 0
    const roundTripMs = this.#clock.nowMs() - this.#timedAtMs
    this.#roundTripsMs.push(roundTripMs)
    if (this.#roundTripsMs.length > roundsRemembered) this.#roundTripsMs.shift()
    const usualMs = Math.max(usualMsMin, Math.min(...this.#roundTripsMs))
    if (roundTripMs > 3 * usualMs) this.slowDown()
    else if (roundTripMs < 1.5 * usualMs) this.#grow()
  }

  /** The remote broker says that it is too much. */
  slowDown(): void {
    this.#isNew = false
    this.#window = Math.max(Math.min(windowMin, this.#windowMax), this.#window * shrinkage)
  }

  #grow(): void {
    this.#window = Math.min(this.#windowMax, this.#window * (this.#isNew ? growthAtFirst : growth) + 1)
  }
}

/** A refusal that says that it is too much for now. */
export function isTemporary(reasonCode: ReasonCode): boolean {
  switch (reasonCode) {
    case ReasonCode.quotaExceeded:
    case ReasonCode.messageRateTooHigh:
    case ReasonCode.serverBusy:
    case ReasonCode.serverUnavailable:
    case ReasonCode.unspecifiedError:
    case ReasonCode.implementationSpecificError:
    case ReasonCode.packetIdentifierInUse:
      return true
    default:
      return false
  }
}
