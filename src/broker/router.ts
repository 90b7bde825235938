/**
 * Topic -> recipients. Literal filters stand in a table, filters with wildcards in a tree of levels; in front of both
 * is a bounded cache, because devices publish to the same topics again and again.
 *
 * Several matching subscriptions of one session make one recipient: the message goes out once, at the highest QoS of
 * them, with all of their subscription identifiers [MQTT-3.3.4-2] [MQTT-3.3.4-3].
 *
 * A change to a literal filter drops one cached topic. A change to a wildcard filter makes cached topics doubtful, and
 * each looks when it is next used whether the filter can concern it: clients that come and go by the thousand do not
 * make the others' messages slower. Topics and filters of too many levels are refused before they come here, so the
 * walk's depth is bounded.
 */

import type { Seq } from '../ports/store.ts'
import type { Qos } from '../protocol/packet.ts'
import type { Session } from './session.ts'
import { isShared } from './share-name.ts'
import type { Subscription } from './subscription.ts'

/** Of each of the two halves of the cache. */
const cachedTopicsMax = 8192

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

/** Tables and lists are made when they are needed: with a million filters most levels have one child or one list. */
type Level = {
  children: Map<string, Level> | undefined
  /** Subscriptions whose filter ends here. */
  here: Subscription[] | undefined
  /** Subscriptions whose filter goes on with `#`. */
  below: Subscription[] | undefined
}

/** Who looks after shared subscriptions (share.ts); each group comes back here as a session with a plain filter. */
export interface SharedSubscriptions {
  add(subscription: Subscription): void
  remove(subscription: Subscription): void
}

type CachedRoute = {
  readonly recipients: readonly Recipient[]
  /** The last change of wildcard filters that was looked at. */
  generation: number
}

/** Changes of wildcard filters that are remembered; a topic that was not used for longer looks anew. */
const changesKept = 64

export class Router {
  readonly #literals = new Map<string, Subscription[]>()
  readonly #wildcards: Level = newLevel()
  /** Full, it becomes the former one, and what is asked for again comes back: no entry has to be looked for to be evicted. */
  #cache = new Map<string, CachedRoute>()
  #formerCache = new Map<string, CachedRoute>()
  readonly #shared: SharedSubscriptions
  /** Counts the changes of wildcard filters. */
  #generation = 0
  /** What the last filters that changed have before their first wildcard; number n stands at n modulo the length. */
  readonly #changedPrefixes = new Array<string>(changesKept).fill('')
  #sweptGeneration = 0
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
      this.#addWildcard(filter, subscription)
      this.#noteChange(filter)
    } else {
      const set = this.#literals.get(filter)
      if (set === undefined) this.#literals.set(filter, insert(set, subscription))
      else insert(set, subscription)
      this.#forget(filter)
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
      this.#noteChange(filter)
    } else {
      const set = this.#literals.get(filter)
      if (set === undefined) return
      take(set, subscription)
      if (set.length === 0) this.#literals.delete(filter)
      this.#forget(filter)
    }
    this.#subscriptionCount--
    if (filter.startsWith(sysPrefix)) this.#sysFilterCount--
  }

  /** Topics whose routes are held, also those that no longer hold. */
  get cachedTopicCount(): number {
    return this.#cache.size + this.#formerCache.size
  }

  /** Drops the routes that are too old to be still right: sessions that ended would be kept by them. */
  dropStaleRoutes(): void {
    if (this.#generation - this.#sweptGeneration < changesKept) return
    this.#sweptGeneration = this.#generation
    for (const cache of [this.#cache, this.#formerCache]) {
      for (const [topic, route] of cache) {
        if (this.#generation - route.generation >= changesKept) cache.delete(topic)
      }
    }
  }

  /** Everybody who gets a message of `topic`; the array is shared and must not be changed. */
  match(topic: string): readonly Recipient[] {
    const cached = this.#cache.get(topic) ?? this.#takeFormer(topic)
    if (cached !== undefined && (cached.generation === this.#generation || this.#isStillRight(cached, topic))) {
      return cached.recipients
    }
    const recipients = this.#look(topic)
    // Clients that come and go are told below $SYS, each on a topic of its own: they would drive out everybody else's.
    if (!topic.startsWith(sysPrefix)) this.#keep(topic, { recipients, generation: this.#generation })
    return recipients
  }

  #takeFormer(topic: string): CachedRoute | undefined {
    const route = this.#formerCache.get(topic)
    if (route !== undefined) this.#keep(topic, route)
    return route
  }

  #keep(topic: string, route: CachedRoute): void {
    if (this.#cache.size >= cachedTopicsMax && !this.#cache.has(topic)) {
      this.#formerCache = this.#cache
      this.#cache = new Map()
    }
    this.#cache.set(topic, route)
  }

  #forget(topic: string): void {
    this.#cache.delete(topic)
    this.#formerCache.delete(topic)
  }

  /** None of the filters that changed since can match the topic. It may say no where that is not known. */
  #isStillRight(cached: CachedRoute, topic: string): boolean {
    const first = cached.generation + 1
    if (this.#generation - first >= changesKept) return false
    for (let change = first; change <= this.#generation; change++) {
      if (topic.startsWith(this.#changedPrefixes[change % changesKept] as string)) return false
    }
    cached.generation = this.#generation
    return true
  }

  #noteChange(filter: string): void {
    this.#generation++
    const wildcardAt = filter.search(/[+#]/)
    // Without its slash: a/# matches a as well.
    this.#changedPrefixes[this.#generation % changesKept] = filter.slice(0, Math.max(0, wildcardAt - 1))
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
    if (level.children === undefined) return
    const literal = level.children.get(levels[at] as string)
    if (literal !== undefined) this.#walk(literal, levels, at + 1, false, found)
    const plus = isHidden ? undefined : level.children.get('+')
    if (plus !== undefined) this.#walk(plus, levels, at + 1, false, found)
  }

  #addWildcard(filter: string, subscription: Subscription): void {
    let level = this.#wildcards
    for (const name of filter.split('/')) {
      if (name === '#') {
        level.below = insert(level.below, subscription)
        return
      }
      level.children ??= new Map()
      let next = level.children.get(name)
      if (next === undefined) {
        next = newLevel()
        level.children.set(name, next)
      }
      level = next
    }
    level.here = insert(level.here, subscription)
  }

  /** Takes the subscription out and prunes levels that became empty. Answers whether `level` is empty now. */
  #removeWildcard(level: Level, levels: readonly string[], at: number, subscription: Subscription): boolean {
    const name = levels[at]
    if (name === undefined) level.here = without(level.here, subscription)
    else if (name === '#') level.below = without(level.below, subscription)
    else {
      const next = level.children?.get(name)
      if (next !== undefined && this.#removeWildcard(next, levels, at + 1, subscription)) level.children?.delete(name)
      if (level.children?.size === 0) level.children = undefined
    }
    return level.children === undefined && level.here === undefined && level.below === undefined
  }
}

export function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#')
}

function newLevel(): Level {
  return { children: undefined, here: undefined, below: undefined }
}

function insert(set: Subscription[] | undefined, subscription: Subscription): Subscription[] {
  subscription.index = set?.length ?? 0
  // An array that begins with its first item has room for that one; one that grows has room for many.
  if (set === undefined) return [subscription]
  set.push(subscription)
  return set
}

function without(set: Subscription[] | undefined, subscription: Subscription): Subscription[] | undefined {
  if (set === undefined) return undefined
  take(set, subscription)
  return set.length === 0 ? undefined : set
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
