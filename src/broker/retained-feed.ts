/**
 * The retained messages that a new subscription asks for, handed out in slices: a subscriber of `#` must neither stall
 * the others nor be sent more than it takes, and all of them together get no more in a second than the settings say.
 * Nothing is collected: a feed is a walk through the table and goes on when the turn is over, the client has room and
 * the rate allows.
 *
 * What changed after the subscription was made comes to the client as a live message and is passed over here, so that
 * no old value follows a new one. A feed outlives its connection as the session does; it ends with its subscription,
 * and with the process.
 */
import { TokenBucket } from '../lib/token-bucket.ts'
import type { Clock } from '../ports/clock.ts'
import type { Delivery } from './deliver.ts'
import type { RetainedEntry, RetainedTable } from './retained.ts'
import { Recipient } from './router.ts'
import type { Session } from './session.ts'
import type { Subscription } from './subscription.ts'

/** Steps that all feeds together take in one turn of the event loop: a millisecond or so on a small gateway. */
const stepsPerTurn = 512

/** Most subscriptions match few topics, and get them with the acknowledgement of SUBSCRIBE. */
const stepsAtOnce = 128

/** What one subscription asked for; not begun before SUBACK is out. */
export interface Feed {
  readonly subscription: Subscription
  readonly recipient: Recipient
  readonly walk: Generator<RetainedEntry | undefined>
  /** Changes after this one come as live messages. */
  readonly lastChange: number
}

/** The feeds of one session, one after the other. */
export class SessionFeeds {
  readonly #feeds: RetainedFeeds
  readonly #waiting: Feed[] = []

  constructor(feeds: RetainedFeeds) {
    this.#feeds = feeds
  }

  get first(): Feed | undefined {
    return this.#waiting[0]
  }

  add(feed: Feed): void {
    this.#waiting.push(feed)
  }

  shift(): void {
    this.#waiting.shift()
  }

  onRoom(session: Session): void {
    this.#feeds.schedule(session)
  }
}

export class RetainedFeeds {
  readonly #clock: Clock
  readonly #table: RetainedTable
  readonly #delivery: Delivery
  readonly #pace: TokenBucket
  /** Sessions whose feeds may go on, in the order of their turns. */
  readonly #ready = new Set<Session>()
  /** Sessions that had no turn, as the rate was used up by those before them. The next turn begins with them. */
  readonly #passedOver = new Set<Session>()
  /** Sessions whose client takes no more at the moment, or whose turn used up the rate. */
  readonly #blocked = new Set<Session>()
  #isScheduled = false

  /** @param perSecondMax messages to all clients together; Infinity = what they take */
  constructor(clock: Clock, table: RetainedTable, delivery: Delivery, perSecondMax: number) {
    this.#clock = clock
    this.#table = table
    this.#delivery = delivery
    this.#pace = new TokenBucket(perSecondMax, clock.nowMs())
  }

  /** To be called when the subscription is made: the feed is of what is retained now. */
  of(subscription: Subscription): Feed {
    return {
      subscription,
      recipient: new Recipient(subscription),
      walk: this.#table.walk(subscription.topicFilter),
      lastChange: this.#table.lastChange,
    }
  }

  /** Sends what is retained for a subscription, its first messages now. */
  begin(feed: Feed): void {
    const { session, topicFilter } = feed.subscription
    if (session.subscriptions.get(topicFilter) !== feed.subscription) return
    const isFirst = session.retainedFeeds === undefined
    if (isFirst && this.#advance(feed, stepsAtOnce) !== undefined) return
    session.retainedFeeds ??= new SessionFeeds(this)
    session.retainedFeeds.add(feed)
    this.schedule(session)
  }

  /** Looks after those who wait: a client that took everything at once does not say that it drained. */
  tick(): void {
    for (const session of this.#passedOver) this.schedule(session)
    for (const session of this.#blocked) this.schedule(session)
  }

  schedule(session: Session): void {
    this.#passedOver.delete(session)
    this.#blocked.delete(session)
    this.#ready.add(session)
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#clock.afterTurn(this.#onTurn)
  }

  readonly #onTurn = (): void => {
    this.#isScheduled = false
    const sessions = [...this.#ready]
    this.#ready.clear()
    const steps = Math.max(1, Math.floor(stepsPerTurn / sessions.length))
    for (const session of sessions) {
      if (this.#pace.msUntilEven(this.#clock.nowMs()) > 0) this.#passedOver.add(session)
      else this.#serve(session, steps)
    }
  }

  #serve(session: Session, stepCount: number): void {
    const feeds = session.retainedFeeds
    let left: number | undefined = stepCount
    while (feeds?.first !== undefined) {
      const { first } = feeds
      const isOver = session.subscriptions.get(first.subscription.topicFilter) !== first.subscription
      if (!isOver) left = this.#advance(first, left)
      if (left === undefined) {
        if (this.#mayGoOn(first.recipient, this.#clock.nowMs())) this.schedule(session)
        else if (session.attachment !== undefined) this.#blocked.add(session)
        return
      }
      feeds.shift()
    }
    session.retainedFeeds = undefined
  }

  /** @returns the steps that are left when the walk is over; undefined when it has to go on later */
  #advance({ recipient, walk, lastChange }: Feed, stepCount: number): number | undefined {
    const nowMs = this.#clock.nowMs()
    for (let left = stepCount; left > 0; left--) {
      if (!this.#mayGoOn(recipient, nowMs)) return undefined
      const { done, value: entry } = walk.next()
      if (done) return left
      if (entry === undefined || entry.change > lastChange) continue
      if (entry.message.expiresAtMs > nowMs) {
        this.#pace.take(1, nowMs)
        this.#delivery.retained(recipient, entry.message)
      } else this.#table.expire(entry.message)
    }
    return undefined
  }

  #mayGoOn(recipient: Recipient, nowMs: number): boolean {
    return this.#delivery.hasRoomForRetained(recipient) && this.#pace.msUntilEven(nowMs) === 0
  }
}
