/**
 * Which topics cross a bridge and what they are called on the other side, in mosquitto's terms: a rule's filter stands
 * behind the local prefix here and behind the remote prefix there.
 *
 *   out  local prefix + filter --> remote prefix + filter      in  the reverse
 */

import type { Qos } from '../protocol/packet.ts'
import { isValidTopicFilter, topicMatches } from '../protocol/topic.ts'

export interface MappingRule {
  readonly filter: string
  /** Highest QoS that crosses. */
  readonly qos: Qos
  readonly localPrefix: string
  readonly remotePrefix: string
}

/** One direction: what to subscribe to on the near side, and the topic on the far side. */
export class Mapping {
  readonly #rules: readonly { readonly from: string; readonly cut: number; readonly put: string; readonly qos: Qos }[]

  /** @param direction `out`: topics come from the local side; `in`: from the remote side */
  constructor(rules: readonly MappingRule[], direction: 'out' | 'in') {
    this.#rules = rules.map((rule) => {
      const near = direction === 'out' ? rule.localPrefix : rule.remotePrefix
      const far = direction === 'out' ? rule.remotePrefix : rule.localPrefix
      return { from: near + rule.filter, cut: near.length, put: far, qos: rule.qos }
    })
  }

  get subscriptions(): readonly { readonly topicFilter: string; readonly qos: Qos }[] {
    return this.#rules.map((rule) => ({ topicFilter: rule.from, qos: rule.qos }))
  }

  /** The topic on the far side by the first rule that fits; undefined when none does. */
  map(topic: string): string | undefined {
    for (const rule of this.#rules) {
      if (topicMatches(rule.from, topic)) return rule.put + topic.slice(rule.cut)
    }
    return undefined
  }
}

/** Why a rule cannot work; undefined when it can. @example ruleFault(rule) // 'filter "a/#/b" is not valid' */
export function ruleFault(rule: MappingRule): string | undefined {
  for (const prefix of [rule.localPrefix, rule.remotePrefix]) {
    if (/[+#]/.test(prefix)) return `prefix "${prefix}" must not hold wildcards`
    if (prefix !== '' && !isValidTopicFilter(prefix + rule.filter))
      return `filter "${prefix + rule.filter}" is not valid`
  }
  return isValidTopicFilter(rule.filter) ? undefined : `filter "${rule.filter}" is not valid`
}
