/**
 * Which lane a message belongs to, how safe it is there, and how much room each lane has. The first rule whose filter matches the topic
 * decides; without one the QoS does. A message is classified once, when it is appended.
 */
import { homeTopic } from '../ports/bridge-topics.ts'
import { Lane, lanes } from '../ports/lane.ts'
import type { Durability } from '../ports/store.ts'
import type { Qos } from '../protocol/packet.ts'
import { topicMatches } from '../protocol/topic.ts'

export interface LaneRule {
  readonly topicFilter: string
  readonly lane: Lane
  /** undefined = that of the lane */
  readonly durability?: Durability | undefined
}

/** What happens when a lane is full. */
export type WhenFull = 'drop_oldest' | 'drop_newest' | 'refuse'

export interface LaneLimits {
  readonly countMax: number
  readonly bytesMax: number
  /** `Infinity` = messages do not grow too old. */
  readonly ageMsMax: number
  readonly whenFull: WhenFull
}

type Classified = { readonly topic: string; readonly qos: Qos }

/** Of topics that are looked up again and again, the rule. */
const cachedTopicsMax = 16_384

export class LaneRules {
  readonly #rules: readonly LaneRule[]
  readonly #durabilities: readonly Durability[]
  readonly #cache = new Map<string, LaneRule | undefined>()

  /** @param durabilities by lane */
  constructor(rules: readonly LaneRule[], durabilities: readonly Durability[] = lanes.map(() => 'disk')) {
    this.#rules = rules
    this.#durabilities = durabilities
  }

  laneOf({ topic, qos }: Classified): Lane {
    const rule = this.#ruleOf(topic)
    if (rule !== undefined) return rule.lane
    return qos === 0 ? Lane.telemetry : Lane.event
  }

  /** What a message survives once it is acknowledged; QoS 0 never is. */
  durabilityOf(message: Classified): Durability {
    if (message.qos === 0) return 'ram'
    return this.#ruleOf(message.topic)?.durability ?? (this.#durabilities[this.laneOf(message)] as Durability)
  }

  #ruleOf(topic: string): LaneRule | undefined {
    if (this.#rules.length === 0) return undefined
    const cached = this.#cache.get(topic)
    if (cached !== undefined || this.#cache.has(topic)) return cached
    const home = homeTopic(topic)
    const rule = this.#rules.find(({ topicFilter }) => topicMatches(topicFilter, home))
    if (this.#cache.size >= cachedTopicsMax) this.#cache.clear()
    this.#cache.set(topic, rule)
    return rule
  }
}
