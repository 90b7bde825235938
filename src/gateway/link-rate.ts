/**
 * BAUD of the serial link: the host asks the device to go to a faster rate that both can, and both come back when it
 * does not carry. Every conversation begins at the rate of the setting; only the host asks.
 *
 *   start ──ask()──> asked ──device agrees──> trial ──any frame──> raised
 *     ^                │ no answer               │ no frame
 *     └──── again ─────┴──────────> refused <────┘
 *
 * serial-link.ts calls `run` at `nextDueMs` and `stop` when the conversation is over.
 */
import type { Clock } from '../ports/clock.ts'

export interface RateOwner {
  /** Sends BAUD with this rate. */
  ask(rate: number): void
  /** What is sent from now on, and what comes, is at this rate. */
  change(rate: number): void
  /** Sends something that the device answers. */
  knock(): void
}

/** A rate that carries no frame for so long is given up, and so is an answer that does not come. */
const trialMs = 500
/** A device that did not understand the question has gone back by then. */
const askAgainMs = 1000
const asksMax = 3
const knockEveryMs = 100

/** A rate that failed so often is left alone until the device restarts or the line is opened anew. */
const lossesMax = 2

const never = Number.POSITIVE_INFINITY

export class LinkRate {
  readonly #startRate: number
  readonly #clock: Clock
  readonly #owner: RateOwner
  #at: 'start' | 'asked' | 'trial' | 'raised' | 'refused' = 'start'
  #wantedRate = 0
  #askCount = 0
  #untilMs = never
  #knockAtMs = never
  #lossCount = 0
  #bootId = 0

  constructor(startRate: number, clock: Clock, owner: RateOwner) {
    this.#startRate = startRate
    this.#clock = clock
    this.#owner = owner
  }

  /** The rate that the line has now. */
  get current(): number {
    return this.isAway ? this.#wantedRate : this.#startRate
  }

  /** Not at the rate that conversations begin with. */
  get isAway(): boolean {
    return this.#at === 'trial' || this.#at === 'raised'
  }

  /** While the device makes up its mind nothing should be under way. */
  get isChanging(): boolean {
    return (this.#at === 'asked' && this.#clock.nowMs() < this.#untilMs) || this.#at === 'trial'
  }

  /**
   * A conversation began, and both ends can do `rate`. A rate that lost conversations is not asked for again; those
   * that ended because the device restarted, which shows in `bootId`, were not lost by the rate.
   */
  want(rate: number, bootId: number): void {
    if (bootId !== this.#bootId) this.#lossCount = 0
    this.#bootId = bootId
    this.#wantedRate = rate
    this.#askCount = 0
    if (this.#lossCount < lossesMax) this.#ask()
    else this.#settle('refused')
  }

  onAgreed(rate: number): void {
    if (this.#at !== 'asked' || rate !== this.#wantedRate) return
    this.#at = 'trial'
    this.#untilMs = this.#clock.nowMs() + trialMs
    this.#owner.change(rate)
    this.#knock()
  }

  /** Any frame: the rate carries. */
  onFrame(): void {
    if (this.#at !== 'trial') return
    this.#at = 'raised'
    this.#untilMs = this.#knockAtMs = never
  }

  nextDueMs(): number {
    if (this.#at === 'asked' && !this.isChanging) return this.#askAgainAtMs
    return Math.min(this.#untilMs, this.#knockAtMs)
  }

  run(): void {
    const nowMs = this.#clock.nowMs()
    if (this.#at === 'asked') {
      if (nowMs < this.#askAgainAtMs) return
      if (this.#askCount < asksMax) this.#ask()
      else this.#settle('refused')
    } else if (this.#at === 'trial') {
      if (nowMs >= this.#untilMs) this.#lose()
      else if (nowMs >= this.#knockAtMs) this.#knock()
    }
  }

  /** The conversation is over: the next one begins at the first rate. @param isLost not because somebody wished it */
  stop(isLost: boolean): void {
    if (isLost && this.isAway) this.#lossCount++
    this.#settle('start')
  }

  /** The line was opened anew: perhaps with another cable. */
  clear(): void {
    this.#lossCount = 0
  }

  get #askAgainAtMs(): number {
    return this.#untilMs - trialMs + askAgainMs
  }

  #lose(): void {
    this.#lossCount++
    this.#settle('refused')
  }

  #ask(): void {
    this.#at = 'asked'
    this.#askCount++
    this.#untilMs = this.#clock.nowMs() + trialMs
    this.#owner.ask(this.#wantedRate)
  }

  #knock(): void {
    this.#knockAtMs = this.#clock.nowMs() + knockEveryMs
    this.#owner.knock()
  }

  #settle(at: 'start' | 'refused'): void {
    const wasAway = this.isAway
    this.#at = at
    this.#untilMs = this.#knockAtMs = never
    if (wasAway) this.#owner.change(this.#startRate)
  }
}
