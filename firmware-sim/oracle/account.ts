/**
 * What became of each reading: produced and acknowledged as the device says, arrived as the subscriber says. The
 * verdict is drawn from these two alone; what lies between them has no say.
 *
 * A device that cannot hear acknowledgements counts as acknowledged what has left it. Then bytes that the line
 * damaged explain as many losses as they can have caused, and no more.
 */
export interface Verdict {
  readonly id: string
  readonly produced: number
  readonly acknowledged: number
  /** Different readings that arrived. */
  readonly arrived: number
  /** Acknowledged to the device and not arrived, without an explanation. */
  readonly lost: number
  /** Not arrived because the line damaged it and nobody could ask for it again. */
  readonly explained: number
  /** Arrived with other contents than it left with. */
  readonly corrupted: number
  /** Arrived once more although the device sent it once. */
  readonly doubled: number
  /** Arrived once more because the device sent it again: to MQTT another message. */
  readonly sentAgain: number
  /** First arrivals behind a later reading. */
  readonly outOfOrder: number
  readonly longestDelayMs: number
}

export class Account {
  readonly id: string
  /** May be the set that the device itself keeps. */
  acknowledged = new Set<number>()
  /** Readings that left the device more than once. */
  resent = new Set<number>()
  producedCount = 0
  /** Readings whose loss has an explanation; 0 where everything is acknowledged. */
  excusedCount = 0
  corruptedCount = 0
  readonly #arrivals = new Map<number, { times: number; readonly connection: number }>()
  #highest = 0
  #outOfOrder = 0
  #longestDelayMs = 0

  constructor(id: string) {
    this.id = id
  }

  get arrivedCount(): number {
    return this.#arrivals.size
  }

  /** Everything acknowledged has arrived, but for what has an excuse. */
  get isSettled(): boolean {
    // The quick answer first: with many readings the other one takes its time.
    if (this.#arrivals.size + this.excusedCount < this.acknowledged.size) return false
    return this.missingCount <= this.excusedCount
  }

  /** Readings acknowledged that have not arrived. */
  get missingCount(): number {
    let count = 0
    for (const n of this.acknowledged) if (!this.#arrivals.has(n)) count++
    return count
  }

  /**
   * @param delayMs from the reading to its arrival
   * @param connection of the subscriber, counted from 0. What comes again in a later one the broker sent again because
   *   it could not know that it had arrived: QoS 1 allows that.
   */
  arrive(n: number, delayMs: number, connection = 0): void {
    const before = this.#arrivals.get(n)
    if (before !== undefined) {
      if (before.connection === connection) before.times++
      return
    }
    this.#arrivals.set(n, { times: 1, connection })
    if (n < this.#highest) this.#outOfOrder++
    this.#highest = Math.max(this.#highest, n)
    this.#longestDelayMs = Math.max(this.#longestDelayMs, delayMs)
  }

  verdict(): Verdict {
    let doubled = 0
    let sentAgain = 0
    for (const [n, { times }] of this.#arrivals) {
      if (times > 1 && this.resent.has(n)) sentAgain += times - 1
      else doubled += times - 1
    }
    const missing = this.missingCount
    const explained = Math.min(missing, this.excusedCount)
    return {
      id: this.id,
      produced: this.producedCount,
      acknowledged: this.acknowledged.size,
      arrived: this.#arrivals.size,
      lost: missing - explained,
      explained,
      corrupted: this.corruptedCount,
      doubled,
      sentAgain,
      outOfOrder: this.#outOfOrder,
      longestDelayMs: this.#longestDelayMs,
    }
  }
}

/** Everything that was produced was acknowledged, arrived, in order, and not twice without a reason. */
export function isGood(verdict: Verdict): boolean {
  const { produced, acknowledged, lost, corrupted, doubled, outOfOrder } = verdict
  return produced > 0 && acknowledged === produced && lost + corrupted + doubled + outOfOrder === 0
}
