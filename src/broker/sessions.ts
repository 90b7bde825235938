/**
 * Every session of this node: who owns it, when it ends, what of it is stored. Sessions are changed only here and in
 * deliver.ts.
 *
 *   claim -> open (CONNECT) -> attached -> released (connection ended) -> claimed again, or ended by expiry
 *
 * A client id has one session, a session has at most one attachment [MQTT-3.1.4-3]. The epoch rises with every claim,
 * so that a write of an earlier owner can be told from the present one's. The store answers a claim when it suits it:
 * another broker may have to hand the session over first. What is inside the house is not claimed.
 */
import { must } from '../lib/assert.ts'
import { type TimerWheel, WheelTimer } from '../lib/timer-wheel.ts'
import type { Clock } from '../ports/clock.ts'
import { everyLane } from '../ports/ledger.ts'
import type { HandedOver, Seq, SessionClaim, SessionRecord, Store, SubscriptionRecord, Ticket } from '../ports/store.ts'
import type { Version } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import type { Counters } from './counters.ts'
import { Cursors } from './cursors.ts'
import type { Delivery } from './deliver.ts'
import type { Ledger } from './ledger.ts'
import type { Router } from './router.ts'
import { SlotState } from './send-window.ts'
import { Session } from './session.ts'
import type { BrokerSettings } from './settings.ts'
import { isShared } from './share-name.ts'
import { Subscription } from './subscription.ts'
import { PendingWill } from './will.ts'

/** What CONNECT asks for. */
export interface SessionRequest {
  readonly clientId: string
  readonly version: Version
  readonly cleanStart: boolean
  /** 0 = the session ends with its connection; `Infinity` = it never ends. */
  readonly expiryIntervalSeconds: number
  readonly will: { readonly message: Publish; readonly delaySeconds: number } | undefined
}

export class SessionTable {
  /** How far each of them has come. */
  readonly cursors: Cursors
  readonly #sessions = new Map<string, Session>()
  readonly #clock: Clock
  readonly #wheel: TimerWheel
  readonly #store: Store
  readonly #router: Router
  readonly #delivery: Delivery
  readonly #counters: Counters
  readonly #ledger: Ledger
  readonly #settings: BrokerSettings
  readonly #publishWill: (message: Publish, session: Session) => void
  /** With this commit messages published elsewhere reach every subscription that there is. */
  followTicket: Ticket = 0

  constructor(parts: {
    clock: Clock
    wheel: TimerWheel
    store: Store
    router: Router
    delivery: Delivery
    counters: Counters
    ledger: Ledger
    settings: BrokerSettings
    publishWill: (message: Publish, session: Session) => void
  }) {
    this.#clock = parts.clock
    this.#wheel = parts.wheel
    this.#store = parts.store
    this.#router = parts.router
    this.#delivery = parts.delivery
    this.#counters = parts.counters
    this.#ledger = parts.ledger
    this.#settings = parts.settings
    this.#publishWill = parts.publishWill
    this.cursors = new Cursors(this.#sessions, parts.store, parts.delivery, parts.clock)
  }

  find(clientId: string): Session | undefined {
    return this.#sessions.get(clientId)
  }

  get count(): number {
    return this.#sessions.size
  }

  /**
   * Makes the session of `clientId` ours; what another broker left of it is here then. `open` or `decline` comes next.
   * @param answer called once, inside the call or later
   */
  claim(clientId: string, answer: (claim: SessionClaim) => void): void {
    this.#store.sessions.claim(clientId, (claim) => {
      if (claim.kind === 'ours' && claim.record !== undefined) this.restore(claim.record)
      answer(claim)
    })
  }

  /** Nobody waits for a claim of ours any more. */
  decline(clientId: string, epoch: number): void {
    const session = this.#sessions.get(clientId)
    if (session === undefined) {
      this.#store.sessions.release(clientId, epoch)
    } else if (session.epoch < epoch) {
      session.epoch = epoch
      this.save(session)
    }
  }

  /**
   * Opens a session for a new connection, which attaches it next.
   * @param epoch of the claim
   * @returns undefined when a later claim was faster
   */
  open(request: SessionRequest, epoch: number): { session: Session; isPresent: boolean } | undefined {
    const existing = this.#sessions.get(request.clientId)
    if (existing !== undefined && existing.epoch >= epoch) return undefined
    if (existing?.attachment !== undefined) {
      this.#counters.takeovers++
      // Its client is here, so a will that waits for it to stay away has nothing to tell.
      if (!request.cleanStart && existing.will !== undefined && existing.will.delaySeconds > 0) this.#dropWill(existing)
      existing.attachment.onTakenOver()
    }
    // Whatever the takeover ended is gone from the table by now.
    let session = this.#sessions.get(request.clientId)
    if (session !== undefined && request.cleanStart) {
      this.end(session) // [MQTT-3.1.2-4]
      session = undefined
    }
    const isPresent = session !== undefined
    const wasDurable = session?.isDurable ?? false
    if (session === undefined) {
      session = this.#create(
        request.clientId,
        request.version,
        0,
        request.expiryIntervalSeconds,
        this.#store.log.lastSeq + 1,
      )
    } else {
      this.#stopCountdown(session)
      this.#dropWill(session) // [MQTT-3.1.3-9]
      session.version = request.version
      session.expiryIntervalSeconds = request.expiryIntervalSeconds
      if (request.expiryIntervalSeconds > 0 && !session.isDurable) this.#makeDurable(session)
    }
    session.epoch = epoch
    session.disconnectedAtMs = undefined
    if (request.will !== undefined) this.#armWill(session, request.will.message, request.will.delaySeconds)
    this.save(session)
    // Some ended with the connection until now.
    if (session.isDurable && !wasDurable) session.subscribedTicket = this.#store.lastTicket
    return { session, isPresent }
  }

  /** Opens a session inside the house. */
  openInside(clientId: string, expiryIntervalSeconds: number): Session {
    const request = { clientId, version: 5, cleanStart: false, expiryIntervalSeconds, will: undefined } as const
    const epoch = (this.#sessions.get(clientId)?.epoch ?? 0) + 1
    return must(this.open(request, epoch), 'a session that nobody else claims').session
  }

  /** Another broker takes a session over. @returns what it goes on with; undefined when nothing is left */
  handOver(clientId: string): HandedOver | undefined {
    const session = this.#sessions.get(clientId)
    session?.attachment?.onTakenOver()
    if (session === undefined || !this.#sessions.has(clientId)) return undefined
    const record = session.toRecord(this.#delivery.routedSeq)
    const inbox = [...session.incomingQos2]
    this.#dropWill(session)
    this.#drop(session)
    return { record, inbox }
  }

  /**
   * The connection of `session` ended.
   * @param withWill false after a normal DISCONNECT [MQTT-3.1.2-10]
   */
  release(session: Session, withWill: boolean): void {
    this.#delivery.detached(session)
    const nowMs = this.#clock.nowMs()
    session.disconnectedAtMs = nowMs
    if (!withWill) this.#dropWill(session)
    if (session.expiryIntervalSeconds === 0) {
      this.end(session)
      return
    }
    if (session.will?.delaySeconds === 0) this.#fireWill(session)
    this.#startCountdown(session, nowMs)
    this.save(session)
  }

  /** Ends a session and everything it holds; a will that still waits is published [MQTT-3.1.2-8]. */
  end(session: Session): void {
    this.#drop(session)
    if (session.isDurable) {
      this.#store.sessions.remove(session.clientId)
      this.#store.inbox.clear(session.clientId)
    } else {
      this.#store.sessions.release(session.clientId, session.epoch)
    }
    this.#fireWill(session)
  }

  /** A session without a connection lasts `expiryIntervalSeconds` from when that ended, and no longer. */
  limit(session: Session, expiryIntervalSeconds: number): void {
    session.expiryIntervalSeconds = expiryIntervalSeconds
    this.#startCountdown(session, session.disconnectedAtMs ?? this.#clock.nowMs())
    this.save(session)
  }

  subscribe(session: Session, record: SubscriptionRecord): Subscription {
    const former = session.subscriptions.get(record.topicFilter)
    if (former !== undefined) {
      this.#router.remove(former)
      if (former.qos !== record.qos || former.noLocal !== record.noLocal) session.forgetCount()
    }
    const subscription = new Subscription(session, record)
    session.addSubscription(subscription)
    this.#router.add(subscription)
    // Of a shared one, its group does.
    if (former === undefined && !isShared(record.topicFilter)) {
      this.followTicket = Math.max(this.followTicket, this.#store.follow(record.topicFilter))
    }
    return subscription
  }

  /** @returns false when there was no such subscription */
  unsubscribe(session: Session, topicFilter: string): boolean {
    const subscription = session.subscriptions.get(topicFilter)
    if (subscription === undefined) return false
    session.removeSubscription(topicFilter)
    this.#remove(subscription)
    session.forgetCount()
    return true
  }

  /** The same as `save`, when its subscriptions changed. */
  saveSubscriptions(session: Session): void {
    if (!session.isDurable) return
    this.save(session)
    session.subscribedTicket = this.#store.lastTicket
  }

  /** Writes the session to the store if it is one that is kept. */
  save(session: Session): void {
    if (!session.isDurable) return
    const record = session.toRecord(this.#delivery.routedSeq)
    session.savedCursor = record.cursor
    this.#store.sessions.save(record)
  }

  /** Puts back a session that the store loaded: its client is away, whatever was true when the record was written. */
  restore(record: SessionRecord): void {
    const session = this.#create(
      record.clientId,
      record.version,
      record.epoch,
      record.expiryIntervalSeconds,
      record.cursor + 1,
    )
    session.isDurable = true
    session.restoredSeq = Math.max(record.sentSeq, record.cursor)
    this.#restoreOutbound(session, record)
    for (const subscription of record.subscriptions) this.subscribe(session, subscription)
    if (record.disconnectedAtMs === undefined) session.perhapsSentSeq = this.#store.log.lastSeq
    const endedAtMs = record.disconnectedAtMs ?? this.#clock.nowMs()
    session.disconnectedAtMs = endedAtMs
    if (record.will !== undefined) {
      this.#armWill(session, record.will.message, record.will.delaySeconds)
      if (session.will !== undefined) session.will.dueAtMs = record.will.dueAtMs
    }
    this.#startCountdown(session, endedAtMs)
    if (record.disconnectedAtMs === undefined) this.save(session)
  }

  #restoreOutbound(session: Session, { outbound }: SessionRecord): void {
    const inLog = outbound.filter(({ seq }) => seq > 0).sort((one, other) => one.seq - other.seq)
    for (const record of inLog) {
      session.addRestored(record)
      session.window.restore(record)
      if (!record.isReleased) session.unsentCount++
    }
    // What is not in the log cannot come again. The client may hold its packet id all the same: PUBREL frees it.
    for (const record of outbound) {
      const isFree = session.window.stateOf(record.packetId) === SlotState.free
      if (record.seq === 0 && isFree) session.window.restore({ ...record, isReleased: true })
    }
  }

  restoreInbox(clientId: string, packetId: number): void {
    this.#sessions.get(clientId)?.addIncomingQos2(packetId)
  }

  *[Symbol.iterator](): Generator<Session> {
    yield* this.#sessions.values()
  }

  #create(clientId: string, version: Version, epoch: number, expiryIntervalSeconds: number, nextSeq: Seq): Session {
    const session = new Session({
      clientId,
      version,
      epoch,
      expiryIntervalSeconds,
      nextSeq,
      waitingCountMax: this.#settings.queueCountMax,
    })
    // Who is inside the house has limits of its own.
    if (!clientId.startsWith('$')) session.limit(this.#settings.queueLimits)
    this.#sessions.set(clientId, session)
    this.#counters.sessionCount = this.#sessions.size
    return session
  }

  /** Takes a session out of the tables of this broker, and of nothing else. */
  #drop(session: Session): void {
    this.#stopCountdown(session)
    this.#sessions.delete(session.clientId)
    this.#counters.sessionCount = this.#sessions.size
    for (const subscription of session.subscriptions.values()) this.#remove(subscription)
    session.removeSubscriptions()
  }

  #remove(subscription: Subscription): void {
    this.#router.remove(subscription)
    if (!isShared(subscription.topicFilter)) this.#store.unfollow(subscription.topicFilter)
  }

  /** From here on the log is its queue; it begins behind everything that was already handed out. */
  #makeDurable(session: Session): void {
    session.isDurable = true
    session.nextSeq = this.#store.log.lastSeq + 1
    for (const packetId of session.incomingQos2) this.#store.inbox.put(session.clientId, packetId)
  }

  /** Starts the clocks of a session without a connection. Nothing is due inside the call. */
  #startCountdown(session: Session, endedAtMs: number): void {
    const expiresAtMs = endedAtMs + session.expiryIntervalSeconds * 1000
    if (expiresAtMs !== Number.POSITIVE_INFINITY) {
      session.expiryTimer ??= new WheelTimer(() => this.#expire(session))
      this.#wheel.schedule(session.expiryTimer, expiresAtMs)
    }
    const will = session.will
    if (will === undefined) return
    will.dueAtMs ??= endedAtMs + will.delaySeconds * 1000
    this.#wheel.schedule(will.timer, will.dueAtMs)
  }

  /** Which of the messages that it had not seen were for it is not known without reading them. */
  #expire(session: Session): void {
    const { lastSeq, firstSeq } = this.#store.log
    const seenSeq = Math.max(session.cursor(this.#delivery.routedSeq), firstSeq - 1)
    const hadWaiting = session.isDurable && session.subscriptions.size > 0 && seenSeq < lastSeq
    if (hadWaiting) {
      const [reason, scope] = ['session_expired', session.clientId] as const
      const lane = session.lane ?? everyLane
      this.#ledger.droppedRange({ reason, scope, lane, firstSeq: seenSeq + 1, lastSeq, count: undefined })
    }
    this.end(session)
  }

  #stopCountdown({ expiryTimer }: Session): void {
    if (expiryTimer !== undefined) this.#wheel.cancel(expiryTimer)
  }

  #armWill(session: Session, message: Publish, delaySeconds: number): void {
    session.will = new PendingWill(message, delaySeconds, () => {
      this.#fireWill(session)
      this.save(session)
    })
  }

  #dropWill(session: Session): void {
    if (session.will === undefined) return
    this.#wheel.cancel(session.will.timer)
    session.will = undefined
  }

  #fireWill(session: Session): void {
    const will = session.will
    if (will === undefined) return
    this.#dropWill(session)
    this.#counters.willsPublished++
    this.#publishWill(will.message, session)
  }
}
