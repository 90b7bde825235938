/**
 * The topic aliases that stand for topics towards one client (MQTT 5.0 §3.3.2.3.4). First come, first served: the
 * first topics that are worth it keep their alias until the connection ends, so that a client with more topics than
 * aliases does not pay for learning them anew again and again.
 */

/** The property costs three bytes, so that a shorter topic is better sent as it is. */
const topicLengthMin = 4

export class OutboundAliases {
  readonly #maximum: number
  readonly #byTopic = new Map<string, number>()

  /** @param maximum what the client allows [MQTT-3.1.2-26] [MQTT-3.3.2-11] */
  constructor(maximum: number) {
    this.#maximum = maximum
  }

  /** The alias of `topic`, or the one that it is to get; 0 = it goes without. */
  aliasFor(topic: string): number {
    const known = this.#byTopic.get(topic)
    if (known !== undefined) return known
    return this.#byTopic.size < this.#maximum && topic.length >= topicLengthMin ? this.#byTopic.size + 1 : 0
  }

  /** The client was told what stands behind it. */
  isKnown(alias: number): boolean {
    return alias <= this.#byTopic.size
  }

  learn(topic: string, alias: number): void {
    this.#byTopic.set(topic, alias)
  }
}
