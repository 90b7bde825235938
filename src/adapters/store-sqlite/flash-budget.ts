/**
 * How long a group commit gathers, so that what is written in a day stays within a budget. A commit with one message
 * writes as much as one with twenty, so a slow stream wears a card less the longer it waits.
 *
 * The budget fills up evenly, to that of an hour at most. While more than half of that is there, nothing waits longer
 * than it must; from there on the wait grows to its longest when nothing is left. Where no wait can keep the budget, the
 * longest is short (lib/flash-wear.ts), so that busy publishers are not slowed down for nothing.
 */
import { longestWaitMs } from '../../lib/flash-wear.ts'

const dayMs = 86_400_000
const hourMs = 3_600_000

/** The rate of messages is that of about so long. */
const rateMs = 10_000

export interface FlashBudgetOptions {
  readonly bytesPerDay: number
  readonly waitMsMin: number
  readonly waitMsMax: number
}

export class FlashBudget {
  /** For how long the next commit may gather. */
  waitMs: number
  readonly #options: FlashBudgetOptions
  #leftBytes: number
  /** Of messages. */
  #bytesPerMs = 0
  #last: { readonly nowMs: number; readonly writtenBytes: number; readonly messageBytes: number } | undefined

  constructor(options: FlashBudgetOptions) {
    this.#options = options
    this.#leftBytes = this.#fullBytes
    this.waitMs = options.waitMsMin
  }

  /** Both since any point in the past. @param writtenBytes by the process @param messageBytes appended to the log */
  observe(writtenBytes: number, messageBytes: number, nowMs: number): void {
    const last = this.#last
    if (last !== undefined && nowMs <= last.nowMs) return
    this.#last = { nowMs, writtenBytes, messageBytes }
    if (last === undefined) return
    const { bytesPerDay, waitMsMin, waitMsMax } = this.#options
    const passedMs = nowMs - last.nowMs
    const filled = this.#leftBytes + (passedMs * bytesPerDay) / dayMs
    this.#leftBytes = Math.max(0, Math.min(this.#fullBytes, filled) - (writtenBytes - last.writtenBytes))
    const share = Math.min(1, passedMs / rateMs)
    this.#bytesPerMs += share * ((messageBytes - last.messageBytes) / passedMs - this.#bytesPerMs)
    const longestMs = longestWaitMs(this.#bytesPerMs, bytesPerDay, waitMsMax)
    const pressure = Math.max(0, 1 - this.#leftBytes / (this.#fullBytes / 2))
    this.waitMs = waitMsMin + pressure * Math.max(0, longestMs - waitMsMin)
  }

  get #fullBytes(): number {
    return (this.#options.bytesPerDay * hourMs) / dayMs
  }
}
