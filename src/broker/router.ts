/**
 * Topic -> recipients. Literal filters stand in a table, filters with wildcards in a tree of levels; in front of both
 * is a bounded cache, because devices publish to the same topics again and again.
 *
 * Several matching subscriptions of one session make one recipient: the message goes out once, at the highest QoS of
 * them, with all of their subscription identifiers [MQTT-3.3.4-2] [MQTT-3.3.4-3].
 *
 * A change to a literal filter drops one cached topic; a change to a wildcard filter makes the cached topics look
 * again, each when it is next used. Topics and filters of too many levels are refused before they come here, so the
 * walk's depth is bounded.
 */

import type { Seq } from '../ports/store.ts'
import type { Qos } from '../protocol/packet.ts'
import type { Session } from './session.ts'
import { isShared } from './share-name.ts'
import type { Subscription } from './subscription.ts'

const cachedTopicsMax = 16_384

const sysPrefix = '$SYS/'

export class Recipient {
  readonly session: Session
  qos: Qos
  /** true only when every matching subscription says so. */
  noLocal: boolean
  retainAsPublished: boolean
  subscriptionIdentifiers: number[] | undefined
  sinceSeq: Seq

  constructor(subscription: Subscription) {
    this.session = subscription.session
    this.qos = subscription.qos
    this.noLocal = subscription.noLocal
    this.retainAsPublished = subscription.retainAsPublished
    this.subscriptionIdentifiers =
      subscription.subscriptionIdentifier === undefined ? undefined : [subscription.subscriptionIdentifier]
    this.sinceSeq = subscription.sinceSeq
  }

  add(subscription: Subscription): void {
    if (subscription.qos > this.qos) this.qos = subscription.qos
    this.noLocal &&= subscription.noLocal
    this.retainAsPublished ||= subscription.retainAsPublished
    if (subscription.sinceSeq < this.sinceSeq) this.sinceSeq = subscription.sinceSeq
    if (subscription.subscriptionIdentifier !== undefined) {
      this.subscriptionIdentifiers = [...(this.subscriptionIdentifiers ?? []), subscription.subscriptionIdentifier]
    }
  }
}

type Level = {
  readonly children: Map<string, Level>
  /** Subscriptions whose filter ends here. */
  readonly here: Subscription[]
  /** Subscriptions whose filter goes on with `#`. */
  readonly below: Subscription[]
}

/** Who looks after shared subscriptions (share.ts); each group comes back here as a session with a plain filter. */
export interface SharedSubscriptions {
  add(subscription: Subscription): void
  remove(subscription: Subscription): void
}

type CachedRoute = { readonly recipients: readonly Recipient[]; readonly generation: number }

export class Router {
  readonly #literals = new Map<string, Subscription[]>()
  readonly #wildcards: Level = newLevel()
  readonly #cache = new Map<string, CachedRoute>()
  readonly #shared: SharedSubscriptions
  #generation = 0
  #subscriptionCount = 0
  #sysFilterCount = 0

  constructor(shared: SharedSubscriptions) {
    this.#shared = shared
  }

  /** Plain ones, a group counting as one. */
  get subscriptionCount(): number {
    return this.#subscriptionCount
  }

  /** Somebody listens below $SYS: no wildcard in the first level reaches there [MQTT-4.7.2-1]. */
  get isSysWanted(): boolean {
    return this.#sysFilterCount > 0
  }

  add(subscription: Subscription): void {
    const filter = subscription.topicFilter
    if (isShared(filter)) {
      this.#shared.add(subscription)
      return
    }
    if (hasWildcard(filter)) {
      insert(this.#wildcardSet(filter), subscription)
      this.#generation++
    } else {
      let set = this.#literals.get(filter)
      if (set === undefined) {
        set = []
        this.#literals.set(filter, set)
      }
      insert(set, subscription)
      this.#cache.delete(filter)
    }
    this.#subscriptionCount++
    if (filter.startsWith(sysPrefix)) this.#sysFilterCount++
  }

  remove(subscription: Subscription): void {
    const filter = subscription.topicFilter
    if (isShared(filter)) {
      this.#shared.remove(subscription)
      return
    }
    if (hasWildcard(filter)) {
      this.#removeWildcard(this.#wildcards, filter.split('/'), 0, subscription)
      this.#generation++
    } else {
      const set = this.#literals.get(filter)
      if (set === undefined) return
      take(set, subscription)
      if (set.length === 0) this.#literals.delete(filter)
      this.#cache.delete(filter)
    }
    this.#subscriptionCount--
    if (filter.startsWith(sysPrefix)) this.#sysFilterCount--
  }

  /** Everybody who gets a message of `topic`; the array is shared and must not be changed. */
  match(topic: string): readonly Recipient[] {
    const cached = this.#cache.get(topic)
    if (cached !== undefined && cached.generation === this.#generation) return cached.recipients
    const recipients = this.#look(topic)
    // Clients that come and go are told below $SYS, each on a topic of its own: they would drive out everybody else's.
    if (topic.startsWith(sysPrefix)) return recipients
    if (cached === undefined && this.#cache.size >= cachedTopicsMax) {
      for (const oldest of this.#cache.keys()) {
        this.#cache.delete(oldest)
        break
      }
    }
    this.#cache.set(topic, { recipients, generation: this.#generation })
    return recipients
  }

  #look(topic: string): readonly Recipient[] {
    const found = new Map<Session, Recipient>()
    collect(this.#literals.get(topic), found)
    const levels = topic.split('/')
    // A wildcard in the first level does not match a topic that begins with $ [MQTT-4.7.2-1].
    this.#walk(this.#wildcards, levels, 0, topic.startsWith('$'), found)
    return [...found.values()]
  }

  #walk(level: Level, levels: readonly string[], at: number, isHidden: boolean, found: Map<Session, Recipient>): void {
    if (!isHidden) collect(level.below, found)
    if (at === levels.length) {
      collect(level.here, found)
      return
    }
    const literal = level.children.get(levels[at] as string)
    if (literal !== undefined) this.#walk(literal, levels, at + 1, false, found)
    const plus = isHidden ? undefined : level.children.get('+')
    if (plus !== undefined) this.#walk(plus, levels, at + 1, false, found)
  }

  #wildcardSet(filter: string): Subscription[] {
    let level = this.#wildcards
    for (const name of filter.split('/')) {
      if (name === '#') return level.below
      let next = level.children.get(name)
      if (next === undefined) {
        next = newLevel()
        level.children.set(name, next)
      }
      level = next
    }
    return level.here
  }

  /** Takes the subscription out and prunes levels that became empty. Answers whether `level` is empty now. */
  #removeWildcard(level: Level, levels: readonly string[], at: number, subscription: Subscription): boolean {
    const name = levels[at]
    if (name === undefined) take(level.here, subscription)
    else if (name === '#') take(level.below, subscription)
    else {
      const next = level.children.get(name)
      if (next !== undefined && this.#removeWildcard(next, levels, at + 1, subscription)) level.children.delete(name)
    }
    return level.children.size === 0 && level.here.length === 0 && level.below.length === 0
  }
}

export function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#')
}

function newLevel(): Level {
  return { children: new Map(), here: [], below: [] }
}

function insert(set: Subscription[], subscription: Subscription): void {
  subscription.index = set.length
  set.push(subscription)
}

/** Removes in O(1) by putting the last one in the gap. */
function take(set: Subscription[], subscription: Subscription): void {
  if (set[subscription.index] !== subscription) return
  const last = set.pop() as Subscription
  if (last !== subscription) {
    set[subscription.index] = last
    last.index = subscription.index
  }
  subscription.index = -1
}

function collect(set: readonly Subscription[] | undefined, found: Map<Session, Recipient>): void {
  if (set === undefined) return
  for (const subscription of set) {
    const recipient = found.get(subscription.session)
    if (recipient === undefined) found.set(subscription.session, new Recipient(subscription))
    else recipient.add(subscription)
  }
}
