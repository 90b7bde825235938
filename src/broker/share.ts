/**
 * Shared subscriptions (MQTT 5.0 §4.8.2): which groups there are and who is in them. Share name and filter together
 * name a group, and every group gets each message once. A group begins with its first member, and ends with the turn
 * in which the last one left, so that a client may subscribe anew without losing what waits.
 */
import { must } from '../lib/assert.ts'
import { parseSharedFilter } from '../protocol/topic.ts'
import type { Core } from './core.ts'
import { Membership, ShareGroup, wantsLog } from './share-group.ts'
import { isShared } from './share-name.ts'
import type { Subscription } from './subscription.ts'

export class ShareTable {
  readonly #core: Core
  readonly #groups = new Map<string, ShareGroup>()
  readonly #empty = new Set<string>()
  /** Subscriptions that the store loaded; their groups begin when the sessions of the groups are loaded too. */
  #loaded: Subscription[] | undefined = []
  #memberCount = 0

  constructor(core: Core) {
    this.#core = core
  }

  get groupCount(): number {
    return this.#groups.size
  }

  get memberCount(): number {
    return this.#memberCount
  }

  /** Everything is loaded. */
  open(): void {
    const loaded = this.#loaded ?? []
    this.#loaded = undefined
    const { sessions } = this.#core
    const kept = new Set(loaded.filter(wantsLog).map((subscription) => subscription.topicFilter))
    for (const session of [...sessions]) {
      if (isShared(session.clientId) && !kept.has(session.clientId)) sessions.end(session)
    }
    for (const name of kept) this.#begin(name, true)
    for (const subscription of loaded) this.add(subscription)
  }

  add(subscription: Subscription): void {
    if (this.#loaded !== undefined) {
      this.#loaded.push(subscription)
      return
    }
    const { session, topicFilter } = subscription
    const group = this.#groups.get(topicFilter) ?? this.#begin(topicFilter, wantsLog(subscription))
    this.#empty.delete(topicFilter)
    this.#memberCount++
    const membership = (session.memberships as Membership | undefined) ?? new Membership(session)
    membership.groups.add(group)
    session.memberships = membership
    group.add(subscription)
  }

  remove(subscription: Subscription): void {
    const { session, topicFilter } = subscription
    const group = must(this.#groups.get(topicFilter), 'group of a member')
    this.#memberCount--
    group.remove(subscription)
    const membership = session.memberships as Membership
    membership.groups.delete(group)
    // Nobody unsubscribes while away: the session ended. Otherwise what is under way to the client is completed.
    if (session.attachment === undefined) membership.leave(group)
    if (group.isEmpty) {
      this.#empty.add(topicFilter)
      this.#core.clock.afterTurn(() => this.endEmpty())
    } else {
      group.onRoom()
    }
  }

  /** Ends the groups that nobody is in. */
  endEmpty(): void {
    for (const name of this.#empty) {
      this.#groups.get(name)?.end()
      this.#groups.delete(name)
    }
    this.#empty.clear()
  }

  /** The broker stops: members go one after the other, and what they had is not to go round among the rest. */
  pause(): void {
    for (const group of this.#groups.values()) group.pause()
  }

  #begin(name: string, isDurable: boolean): ShareGroup {
    const { topicFilter } = must(parseSharedFilter(name), 'parts of a shared subscription')
    const group = new ShareGroup(this.#core, name, topicFilter, isDurable)
    this.#groups.set(name, group)
    return group
  }
}
