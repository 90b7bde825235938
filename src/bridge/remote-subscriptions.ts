/**
 * What the remote broker holds for us, so that only differences are asked for: after a reconnect, after new settings,
 * and after a restart with other settings, when what an earlier run subscribed to has to go.
 *
 * A subscription counts as held only once it was acknowledged; what was asked for and not answered is asked for again,
 * and is remembered as something that may have to go.
 */
import type { FilterMemory } from '../ports/filter-memory.ts'
import type { SubscriptionRequest } from '../protocol/packet.ts'
import { Mapping, type MappingRule } from './mapping.ts'

export interface SubscriptionChanges {
  readonly subscribe: readonly SubscriptionRequest[]
  readonly unsubscribe: readonly string[]
}

/** What the in rules of a bridge ask of the remote broker. What we sent does not come back, and retained stays retained. */
export function subscriptionsFor(rules: readonly MappingRule[]): SubscriptionRequest[] {
  return new Mapping(rules, 'in').subscriptions.map(({ topicFilter, qos }) => ({
    topicFilter,
    qos,
    noLocal: true,
    retainAsPublished: true,
    // Once, when the subscription is new: a reconnect brings nothing that is here already.
    retainHandling: 1,
  }))
}

/** What a Tidegate above says about the bridge itself (fleet.ts). */
export const bridgeSubscriptions: readonly SubscriptionRequest[] = (
  [
    ['$bridge/answer', 0],
    ['$bridge/pace', 0],
    ['$bridge/maintenance', 1],
  ] as const
).map(([topicFilter, qos]) => ({ topicFilter, qos, noLocal: true, retainAsPublished: false, retainHandling: 2 }))

/** For filters that were asked for and not acknowledged. */
const unsure = ''

export class RemoteSubscriptions {
  readonly #memory: FilterMemory
  /** Filter -> how it was asked for. */
  readonly #held: Map<string, string>

  constructor(memory: FilterMemory) {
    this.#memory = memory
    this.#held = new Map(memory.load())
  }

  /** The remote broker has no session of ours. */
  forget(): void {
    this.#held.clear()
  }

  /** What to ask for so that the remote broker holds exactly `wanted`. Everything in it is unsure until acknowledged. */
  changesTo(wanted: readonly SubscriptionRequest[], version: 4 | 5): SubscriptionChanges {
    const filters = new Set(wanted.map(({ topicFilter }) => topicFilter))
    const subscribe = wanted.filter((request) => this.#held.get(request.topicFilter) !== describe(request, version))
    const unsubscribe = [...this.#held.keys()].filter((filter) => !filters.has(filter))
    for (const filter of [...subscribe.map(({ topicFilter }) => topicFilter), ...unsubscribe]) {
      this.#held.set(filter, unsure)
    }
    if (subscribe.length + unsubscribe.length > 0) this.#memory.save(this.#held)
    return { subscribe, unsubscribe }
  }

  /** SUBACK: `isGranted` tells which of `requests` hold now. */
  subscribed(requests: readonly SubscriptionRequest[], version: 4 | 5, isGranted: (index: number) => boolean): void {
    for (const [index, request] of requests.entries()) {
      if (isGranted(index)) this.#held.set(request.topicFilter, describe(request, version))
      else this.#held.delete(request.topicFilter)
    }
    this.#memory.save(this.#held)
  }

  /** UNSUBACK: `isGone` tells which of `filters` the remote broker holds no longer. */
  unsubscribed(filters: readonly string[], isGone: (index: number) => boolean): void {
    for (const [index, filter] of filters.entries()) if (isGone(index)) this.#held.delete(filter)
    this.#memory.save(this.#held)
  }
}

/** Two that read alike need not be asked for twice. */
function describe({ qos, noLocal, retainAsPublished, retainHandling }: SubscriptionRequest, version: 4 | 5): string {
  return version === 4 ? `v4 q${qos}` : `v5 q${qos} n${+noLocal} r${+retainAsPublished} h${retainHandling}`
}
