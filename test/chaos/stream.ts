/**
 * One numbered stream, from one publisher to one subscriber over everything between them: which numbers the publisher
 * knows to be safe, and what became of each.
 */
export class Stream {
  readonly id: string
  readonly #acknowledged = new Set<number>()
  readonly #mayExpire: boolean
  /** Sent once more by the publisher itself: to MQTT another message. */
  readonly #sentAgain = new Set<number>()
  /** Number -> the connection of the subscriber that it came over first. */
  readonly #arrived = new Map<number, number>()
  #highest = 0
  publishedCount = 0
  /** Came twice although the publisher sent it once and the last hop did not repeat itself. */
  doubledCount = 0
  /** Came twice because the publisher sent it again. */
  sentAgainCount = 0
  /** Came again on a later connection of the last hop, which is QoS 1: its acknowledgement was lost or forgotten. */
  redeliveredCount = 0
  lateCount = 0

  /** @param mayExpire its messages need not arrive */
  constructor(id: string, mayExpire = false) {
    this.id = id
    this.#mayExpire = mayExpire
  }

  /** Messages that were sent again by their publisher, however often. */
  get repeatedCount(): number {
    return this.#sentAgain.size
  }

  get acknowledgedCount(): number {
    return this.#acknowledged.size
  }

  get arrivedCount(): number {
    return this.#arrived.size
  }

  get lost(): number[] {
    return [...this.#acknowledged].filter((number) => !this.#arrived.has(number))
  }

  get isSettled(): boolean {
    return this.#acknowledged.size === this.publishedCount && (this.#mayExpire || this.lost.length === 0)
  }

  acknowledge(number: number): void {
    this.#acknowledged.add(number)
  }

  sendAgain(number: number): void {
    this.#sentAgain.add(number)
  }

  /**
   * @param connection counts the connections of the subscriber
   * @param isOnceOnly the last hop repeats nothing, as it is QoS 2
   */
  arrive(number: number, connection: number, isOnceOnly: boolean): void {
    const first = this.#arrived.get(number)
    if (first !== undefined) {
      if (this.#sentAgain.has(number)) this.sentAgainCount++
      else if (!isOnceOnly && first < connection) this.redeliveredCount++
      else this.doubledCount++
      return
    }
    this.#arrived.set(number, connection)
    if (number < this.#highest) this.lateCount++
    this.#highest = Math.max(this.#highest, number)
  }
}
