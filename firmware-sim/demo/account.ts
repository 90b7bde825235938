/**
 * What became of each reading: produced and acknowledged as the device says, arrived as the subscriber says. The
 * verdict is drawn from these two alone; what lies between them has no say.
 */
export interface Verdict {
  readonly id: string
  readonly produced: number
  readonly acknowledged: number
  /** Different readings that arrived. */
  readonly arrived: number
  /** Acknowledged to the device and not arrived. */
  readonly lost: number
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
  readonly acknowledged = new Set<number>()
  /** Readings that left the device more than once. */
  readonly resent = new Set<number>()
  producedCount = 0
  readonly #arrivals = new Map<number, number>()
  #highest = 0
  #outOfOrder = 0
  #longestDelayMs = 0

  constructor(id: string) {
    this.id = id
  }

  get arrivedCount(): number {
    return this.#arrivals.size
  }

  /** Everything acknowledged has arrived. */
  get isSettled(): boolean {
    for (const n of this.acknowledged) if (!this.#arrivals.has(n)) return false
    return true
  }

  /** @param delayMs from the reading to its arrival */
  arrive(n: number, delayMs: number): void {
    const times = this.#arrivals.get(n) ?? 0
    this.#arrivals.set(n, times + 1)
    if (times > 0) return
    if (n < this.#highest) this.#outOfOrder++
    this.#highest = Math.max(this.#highest, n)
    this.#longestDelayMs = Math.max(this.#longestDelayMs, delayMs)
  }

  verdict(): Verdict {
    let doubled = 0
    let sentAgain = 0
    for (const [n, times] of this.#arrivals) {
      if (times > 1 && this.resent.has(n)) sentAgain += times - 1
      else doubled += times - 1
    }
    return {
      id: this.id,
      produced: this.producedCount,
      acknowledged: this.acknowledged.size,
      arrived: this.#arrivals.size,
      lost: [...this.acknowledged].filter((n) => !this.#arrivals.has(n)).length,
      doubled,
      sentAgain,
      outOfOrder: this.#outOfOrder,
      longestDelayMs: this.#longestDelayMs,
    }
  }
}

/** Everything that was produced was acknowledged, arrived, in order, and not twice without a reason. */
export function isGood(verdict: Verdict): boolean {
  const { produced, acknowledged, lost, doubled, outOfOrder } = verdict
  return produced > 0 && acknowledged === produced && lost === 0 && doubled === 0 && outOfOrder === 0
}
