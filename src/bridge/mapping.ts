/**
 * Which topics cross a bridge and what they are called on the other side, in mosquitto's terms: a rule's filter stands
 * behind the local prefix here and behind the remote prefix there. With an empty filter the two prefixes are whole
 * topics, and exactly one topic crosses.
 *
 *   out  local prefix + filter --> remote prefix + filter      in  the reverse
 */

import type { KeepRule } from '../ports/local.ts'
import type { Qos } from '../protocol/packet.ts'
import { topicMatches } from '../protocol/topic.ts'

export interface MappingRule {
  readonly filter: string
  /** Highest QoS that crosses. */
  readonly qos: Qos
  readonly localPrefix: string
  readonly remotePrefix: string
  /** For what goes out: what of the messages that wait is worth sending. All of it unless given. */
  readonly keep?: KeepRule['keep'] | undefined
  /** For `sample`: one in so many seconds. */
  readonly sampleSeconds?: number | undefined
  /** Messages that waited longer do not go out. */
  readonly ageSecondsMax?: number | undefined
}

/** A rule seen from the side that messages come from. */
interface Crossing {
  readonly from: string
  readonly cut: number
  readonly put: string
  readonly qos: Qos
  /** undefined = everything that waits goes out. */
  readonly keepRule: KeepRule | undefined
}

/** One direction: what to subscribe to on the near side, and the topic on the far side. */
export class Mapping {
  readonly #crossings: readonly Crossing[]

  /** @param direction `out`: topics come from the local side; `in`: from the remote side */
  constructor(rules: readonly MappingRule[], direction: 'out' | 'in') {
    this.#crossings = rules.map((rule) => {
      const near = direction === 'out' ? rule.localPrefix : rule.remotePrefix
      const far = direction === 'out' ? rule.remotePrefix : rule.localPrefix
      return { from: near + rule.filter, cut: near.length, put: far, qos: rule.qos, keepRule: keepRuleOf(rule) }
    })
  }

  /** Each filter once, at the highest QoS of the rules that have it. */
  get subscriptions(): readonly { readonly topicFilter: string; readonly qos: Qos }[] {
    const highest = new Map<string, Qos>()
    for (const { from, qos } of this.#crossings) {
      highest.set(from, Math.max(qos, highest.get(from) ?? 0) as Qos)
    }
    return [...highest].map(([topicFilter, qos]) => ({ topicFilter, qos }))
  }

  /** The topic on the far side by the first rule that fits; undefined when none does. */
  map(topic: string): string | undefined {
    const crossing = this.#find(topic)
    const mapped = crossing === undefined ? '' : crossing.put + topic.slice(crossing.cut)
    return mapped === '' ? undefined : mapped
  }

  /** The topic on the near side that becomes `topic` on the far side; undefined when none does. */
  unmap(topic: string): string | undefined {
    for (const { from, cut, put } of this.#crossings) {
      if (!topicMatches(put + from.slice(cut), topic) || topic.length < put.length) continue
      const near = from.slice(0, cut) + topic.slice(put.length)
      if (this.map(near) === topic) return near
    }
    return undefined
  }

  /** The QoS that a message of `topic` crosses with: the publisher's, and no higher than the rule that maps it says. */
  qosOf(topic: string, qos: Qos): Qos {
    return Math.min(qos, this.#find(topic)?.qos ?? 0) as Qos
  }

  /** Whether there is a topic of which not everything that waits is sent. */
  get thins(): boolean {
    return this.#crossings.some(({ keepRule }) => keepRule !== undefined)
  }

  /** What of the waiting messages of `topic` is worth sending; undefined = all. */
  keepOf(topic: string): KeepRule | undefined {
    return this.#find(topic)?.keepRule
  }

  #find(topic: string): Crossing | undefined {
    for (const crossing of this.#crossings) {
      // `L/#` takes the topic `L` too, which has no more behind the prefix `L/` than half of it.
      if (topicMatches(crossing.from, topic) && topic.length >= crossing.cut) return crossing
    }
    return undefined
  }
}

function keepRuleOf({ keep = 'all', sampleSeconds = 0, ageSecondsMax }: MappingRule): KeepRule | undefined {
  if (keep === 'all' && ageSecondsMax === undefined) return undefined
  return { keep, sampleMs: sampleSeconds * 1000, ageMsMax: (ageSecondsMax ?? Number.POSITIVE_INFINITY) * 1000 }
}
