/**
 * How fast a bridge sends. The window is how many messages may be under way; a token bucket keeps the rate that somebody
 * asked for. What is under way beyond what line and remote broker hold is a queue, and a command waits behind it, so the
 * window is half as large again as the rate times the answer's time where none stands. One message per round trip is
 * timed, so that it costs nothing per message.
 *
 *   window -> 1.5 * best rate * usual time       usual: the shortest median of some rounds, of a while
 *
 * A while begins with some rounds of a quarter of the window, or the time behind a queue would become the usual one. When
 * everything takes three times as long, what was learned is forgotten: the line may have become another one. A
 * remote broker that has enough (0x97, 0x96) makes the window smaller at once.
 */
import type { Clock } from '../ports/clock.ts'
import { ReasonCode } from '../protocol/reason.ts'

/** Of the rate times the usual time: above 1, because a commit above answers many at once. */
const gain = 1.5

/** A new line is tried first; after that the window grows more slowly. */
const windowAtFirst = 64
const growthAtFirst = 1.25
const growth = 1.05
const windowMin = 4
/** In a round, unless it was refused. */
const shrinkageMax = 0.85
const shrinkageWhenRefused = 0.7

/** What takes long once, a disk or a radio, is none of their medians. */
const roundsJudged = 5

/** What was learned is of this while and of the one before. */
const roundsInWhile = 128
const roundsProbed = 6

/** Below this nothing has become slow. */
const slowMsMin = 60

/** Rounds in which no more than this share of the window was used say nothing about it: the smallest share of a lane is half. */
const shareUsed = 0.4

/** Of the line, in a while. */
interface Learned {
  usualMs: number
  /** Messages per millisecond, had all of the window been used. */
  rate: number
}

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
  /** There was never too much under way. */
  #isNew = true
  /** Of the last rounds, by time. */
  readonly #roundTripsMs: number[] = []
  readonly #rates: number[] = []
  #now = nothingLearned()
  #before = nothingLearned()
  #roundCount = 0
  /** Rounds of a quarter of the window that are to come. */
  #probesLeft = 0
  /** Acknowledged since the timed message was sent. */
  #ackedCount = 0
  /** The message whose answer is timed; 0 = the next one. */
  #timedPacketId = 0
  #timedAtMs = 0
  /** The window that it was sent into. */
  #timedWindow = 0
  #pace: Pace | undefined
  #tokens = 0
  #filledAtMs = 0

  constructor(clock: Clock, pace: Pace | undefined) {
    this.#clock = clock
    this.setPace(pace)
  }

  /** Messages that may be under way. */
  get window(): number {
    const isProbing = this.#probesLeft > 0
    return Math.floor(isProbing ? Math.max(Math.min(windowMin, this.#window), this.#window / 4) : this.#window)
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
    this.#timedWindow = this.window
    this.#ackedCount = 0
  }

  acknowledged(packetId: number): void {
    this.#ackedCount++
    if (packetId !== this.#timedPacketId) return
    this.#timedPacketId = 0
    if (this.#ackedCount >= shareUsed * this.#timedWindow)
      this.#judge(Math.max(1, this.#clock.nowMs() - this.#timedAtMs))
  }

  /** The remote broker says that it is too much. */
  slowDown(): void {
    this.#isNew = false
    this.#window = Math.max(Math.min(windowMin, this.#windowMax), this.#window * shrinkageWhenRefused)
  }

  #judge(roundTripMs: number): void {
    const isProbing = this.#probesLeft > 0
    if (isProbing) this.#probesLeft--
    if (++this.#roundCount > roundsInWhile) this.#beginWhile(this.#now)
    remember(this.#roundTripsMs, roundTripMs)
    remember(this.#rates, this.#timedWindow / roundTripMs)
    if (this.#rates.length < roundsJudged) return
    const medianMs = median(this.#roundTripsMs)
    const now = this.#now
    now.usualMs = Math.min(now.usualMs, medianMs)
    now.rate = Math.max(now.rate, median(this.#rates))
    const usualMs = Math.min(now.usualMs, this.#before.usualMs)
    if (medianMs > Math.max(slowMsMin, 3 * usualMs)) {
      this.#beginWhile(nothingLearned())
      return
    }
    if (!isProbing) this.#approach(gain * Math.max(now.rate, this.#before.rate) * usualMs)
  }

  #beginWhile(before: Learned): void {
    this.#before = before
    this.#now = nothingLearned()
    this.#roundCount = 0
    this.#roundTripsMs.length = 0
    this.#rates.length = 0
    this.#probesLeft = roundsProbed
  }

  #approach(target: number): void {
    const window = this.#window
    if (window > target) {
      this.#isNew = false
      this.#window = Math.max(Math.min(windowMin, this.#windowMax), target, window * shrinkageMax)
    } else {
      this.#window = Math.min(this.#windowMax, target, window * (this.#isNew ? growthAtFirst : growth) + 1)
    }
  }
}

function remember(values: number[], value: number): void {
  values.push(value)
  if (values.length > roundsJudged) values.shift()
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1] as number
}

function nothingLearned(): Learned {
  return { usualMs: Number.POSITIVE_INFINITY, rate: 0 }
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
