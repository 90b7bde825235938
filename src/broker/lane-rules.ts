/**
 * Which lane a message belongs to, and how much room each lane has. The first rule whose filter matches the topic
 * decides; without one the QoS does. A message is classified once, when it is appended.
 */
import { Lane } from '../ports/lane.ts'
import type { Qos } from '../protocol/packet.ts'
import { topicMatches } from '../protocol/topic.ts'

export interface LaneRule {
  readonly topicFilter: string
  readonly lane: Lane
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

/** Of topics that are looked up again and again, the rule. */
const cachedTopicsMax = 16_384

export class LaneRules {
  readonly #rules: readonly LaneRule[]
  readonly #cache = new Map<string, LaneRule | undefined>()

  constructor(rules: readonly LaneRule[]) {
    this.#rules = rules
  }

  laneOf({ topic, qos }: { readonly topic: string; readonly qos: Qos }): Lane {
    const rule = this.#rules.length === 0 ? undefined : this.#ruleOf(topic)
    if (rule !== undefined) return rule.lane
    return qos === 0 ? Lane.telemetry : Lane.event
  }

  #ruleOf(topic: string): LaneRule | undefined {
    const cached = this.#cache.get(topic)
    if (cached !== undefined || this.#cache.has(topic)) return cached
    const rule = this.#rules.find(({ topicFilter }) => topicMatches(topicFilter, topic))
    if (this.#cache.size >= cachedTopicsMax) this.#cache.clear()
    this.#cache.set(topic, rule)
    return rule
  }
}
