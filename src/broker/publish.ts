/**
 * THE publish path. Every message, whoever sent it, goes through `publish`: authorize, gate, retain, route, store,
 * deliver, in that order. What it answers tells the connection when to acknowledge.
 *
 * A message is stored once, and only when a durable session wants it; those sessions get it after its group commit
 * (deliver.ts), everybody else gets it now.
 */
import type { Authorizer, Principal } from '../ports/auth.ts'
import type { Clock } from '../ports/clock.ts'
import { aheadFilter, aheadMessage, markHeld } from '../ports/delayed-ahead.ts'
import type { Lane } from '../ports/lane.ts'
import type { GateLink } from '../ports/local.ts'
import type { Durability, Seq, Store, Ticket } from '../ports/store.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import { ReasonCode } from '../protocol/reason.ts'
import { isValidTopicName } from '../protocol/topic.ts'
import type { Backlog } from './backlog.ts'
import { Convoy } from './convoy.ts'
import type { Counters } from './counters.ts'
import type { DelayedMessages } from './delayed.ts'
import { type DelayedTopic, delayMsOf, parseDelayed } from './delayed-topic.ts'
import type { Delivery } from './deliver.ts'
import type { LaneRules } from './lane-rules.ts'
import type { RetainedTable } from './retained.ts'
import type { Recipient, Router } from './router.ts'
import type { Session } from './session.ts'
import type { BrokerSettings } from './settings.ts'

const dollar = 0x24

/** Nothing had to be stored: acknowledge at once. */
export const noTicket: Ticket = 0

export class PublishPath {
  readonly #authorizer: Authorizer
  readonly #store: Store
  readonly #clock: Clock
  readonly #router: Router
  readonly #retained: RetainedTable
  readonly #delivery: Delivery
  readonly #counters: Counters
  readonly #laneRules: LaneRules
  readonly #backlog: Backlog
  readonly #delays: DelayedMessages
  readonly #convoy: Convoy
  /** QoS 0 may stand in the log. */
  readonly #keepsQos0: boolean
  /** What the last call of `publish` decided; fields instead of an object per message. */
  reasonCode: ReasonCode = ReasonCode.success
  ticket: Ticket = noTicket

  constructor(parts: {
    authorizer: Authorizer
    store: Store
    clock: Clock
    router: Router
    retained: RetainedTable
    delivery: Delivery
    counters: Counters
    laneRules: LaneRules
    backlog: Backlog
    delays: DelayedMessages
    settings: BrokerSettings
  }) {
    this.#authorizer = parts.authorizer
    this.#store = parts.store
    this.#clock = parts.clock
    this.#router = parts.router
    this.#retained = parts.retained
    this.#delivery = parts.delivery
    this.#counters = parts.counters
    this.#laneRules = parts.laneRules
    this.#backlog = parts.backlog
    this.#delays = parts.delays
    this.#convoy = new Convoy(parts.delivery, parts.counters)
    this.#keepsQos0 = parts.settings.queueLimits.keepsQos0
  }

  /**
   * Takes a message from a client. Afterwards `reasonCode` is what to acknowledge with and `ticket` the group commit
   * to wait for first; `noTicket` = none.
   * @param principal undefined for messages made inside the house, which are always allowed
   * @param session the publisher's, for No Local
   * @param gate of a peer that numbers its messages
   */
  publish(
    message: Publish,
    principal: Principal | undefined,
    session: Session | undefined,
    gate: GateLink | undefined,
  ): void {
    this.reasonCode = ReasonCode.success
    this.ticket = noTicket
    this.#counters.receivedMessages++
    const delayed = message.topic.charCodeAt(0) === dollar ? parseDelayed(message.topic) : undefined
    if (principal !== undefined && !this.#authorizer.mayPublish(principal, delayed?.topic ?? message.topic)) {
      this.#counters.dropped.notAuthorized++
      this.reasonCode = ReasonCode.notAuthorized
      gate?.refused(message, true)
      return
    }
    const publisherId = session?.clientId ?? ''
    if (gate !== undefined && !this.#admit(message, delayed, gate)) return
    if (session !== undefined) message.publisher = publisherId
    const interval = message.properties?.messageExpiryInterval
    if (interval !== undefined) message.expiresAtMs = this.#clock.nowMs() + interval * 1000
    if (delayed !== undefined) {
      this.#delay(message, delayed, session, gate !== undefined)
      return
    }
    this.#take(message, session)
  }

  /**
   * PUBLISH of QoS 0 without flags, of the client that the chunk is from, whose messages are taken as they are.
   * @returns false when it must be decoded and published
   */
  publishUnread(bytes: Buffer, start: number, end: number): boolean {
    if (!this.#convoy.takeUnread(bytes, start, end)) return false
    this.#counters.receivedMessages++
    return true
  }

  /** Whether a message that may be numbered goes on; if not, what to acknowledge it with is decided. */
  #admit(message: Publish, delayed: DelayedTopic | undefined, gate: GateLink): boolean {
    // Nothing may be recognised later that is refused now.
    if (message.qos > 0 && !this.canStore(message)) {
      gate.refused(message, false)
      this.#refuseUnwritable()
      return false
    }
    const durability = this.#laneRules.durabilityOf(message)
    const admission = gate.admit(message, durability)
    if (admission === 'wait') {
      this.reasonCode = ReasonCode.quotaExceeded
      return false
    }
    // The mark of the message, and the message itself when it came before, are in the open commit at the latest.
    if (admission !== 'unnumbered') this.#awaitStored(durability)
    if (admission === 'again') {
      this.#counters.duplicatesRecognised++
      return false
    }
    // What a gateway sends ahead is of all its clients, who are counted there.
    if (delayed === undefined || this.#delays.hasRoom('', message)) return true
    gate.turnedAway()
    this.#refuseDelayed()
    // Whoever numbers its messages would wait for room with everything behind it: it is told that this one is refused.
    if (admission === 'new') this.reasonCode = ReasonCode.topicNameInvalid
    return false
  }

  /** What was published so far is on its way to everybody who gets it now. To be said before something else is done. */
  settle(): void {
    this.#convoy.settle()
  }

  /** The chunk was read that messages came in. */
  endChunk(): void {
    this.#convoy.end()
  }

  /** false: a durable session that wants this QoS >= 1 message would have it refused now. */
  canStore(message: Publish): boolean {
    return this.#store.isWritable && !this.#isLaneRefusing(message)
  }

  /**
   * A delayed message is due. Its expiry has counted since it came.
   * @returns false when it cannot be taken now
   */
  release(message: Publish, publisher: Session | undefined): boolean {
    this.reasonCode = ReasonCode.success
    if (!this.#store.isWritable || this.#isLaneRefusing(message)) return false
    if (message.expiresAtMs <= this.#clock.nowMs()) {
      this.#counters.dropped.expired++
      return true
    }
    this.#take(message, publisher)
    return true
  }

  #delay(
    message: Publish,
    { interval, topic }: DelayedTopic,
    session: Session | undefined,
    isOfGateway: boolean,
  ): void {
    const delayMs = delayMsOf(interval, this.#clock.wallMs())
    if (delayMs === undefined || !isValidTopicName(topic) || parseDelayed(topic) !== undefined) {
      this.#counters.dropped.delayedRefused++
      this.reasonCode = ReasonCode.topicNameInvalid
      return
    }
    const inner = message.withTopic(topic)
    if (delayMs === 0) {
      this.#take(inner, session)
    } else if (!this.#store.isWritable) {
      this.#refuseUnwritable()
    } else {
      this.#hold(inner, delayMs, session, isOfGateway)
    }
  }

  /** Here, or at the broker above a bridge, or on both sides, as the bridges want it that take this topic. */
  #hold(message: Publish, delayMs: number, session: Session | undefined, isOfGateway: boolean): void {
    const isWantedBy = (holder: 'cloud' | 'both') =>
      this.#router.match(aheadFilter(holder, message.topic)).some(({ session: { clientId } }) => clientId[0] === '$')
    const isForBoth = isWantedBy('both')
    const isForCloud = isWantedBy('cloud')
    const isHeldHere = isForBoth || !isForCloud
    if (isHeldHere && !this.#delays.hasRoom(isOfGateway ? '' : message.publisher, message)) {
      this.#refuseDelayed()
      return
    }
    const dueAtMs = this.#clock.nowMs() + delayMs
    if (isForCloud) this.#route(aheadMessage(message, 'cloud', dueAtMs), session)
    if (isForBoth) this.#route(aheadMessage(message, 'both', dueAtMs), session)
    if (this.reasonCode >= 0x80) return
    if (isForBoth) markHeld(message)
    if (isHeldHere) this.#delays.add(message, delayMs)
    this.#counters.delayedMessages++
    this.ticket = this.#store.lastTicket
  }

  /** A message of the broker about itself, QoS 0: nobody's rights are asked, and it is not among those received. */
  announce(message: Publish): void {
    this.#route(message, undefined)
  }

  /** A copy for bridges, of a message that was published: under a topic of theirs, and retained by nobody. */
  setAside(message: Publish, publisher: Session): void {
    this.#route(message, publisher)
  }

  #take(message: Publish, publisher: Session | undefined): void {
    if (message.retain) this.#retain(message)
    this.#route(message, publisher)
  }

  #retain(message: Publish): void {
    const nowMs = this.#clock.nowMs()
    message.changedAtMs = Math.min(message.changedAtMs ?? nowMs, nowMs)
    const durability = this.#laneRules.durabilityOf(message)
    if (this.#retained.set(message, durability)) this.#awaitStored(durability)
    else this.#counters.retainedRefused++
  }

  /** What was just stored is acknowledged once it is as safe as that. */
  #awaitStored(durability: Durability): void {
    this.ticket = durability === 'ram' ? noTicket : this.#store.lastTicket
  }

  #route(message: Publish, publisher: Session | undefined): void {
    const recipients = this.#router.match(message.topic)
    if (message.qos > 0) this.#convoy.settle()
    else if (this.#convoy.take(message, recipients, publisher)) return
    if (message.qos > 0 && !this.#store.isWritable && recipients.some(wantsLog)) {
      // Refused before anybody has it: the publisher will send it again.
      this.#refuseUnwritable()
      return
    }
    if (this.#isLaneRefusing(message)) {
      this.#refuseFull()
      return
    }
    let lane: Lane | undefined
    message.isForMany = recipients.length > 1
    let isWantedByDurable = false
    for (let i = 0; i < recipients.length; i++) {
      const recipient = recipients[i] as Recipient
      const only = recipient.session.lane
      if (only !== undefined) {
        lane ??= this.#laneRules.laneOf(message)
        if (only !== lane) continue
      }
      if (isForLog(message, recipient)) isWantedByDurable = true
      else if (!(recipient.noLocal && recipient.session === publisher)) this.#delivery.now(recipient, message)
    }
    if (recipients.length === 0 && message.qos > 0) this.reasonCode = ReasonCode.noMatchingSubscribers
    if (!isWantedByDurable) return
    lane ??= this.#laneRules.laneOf(message)
    if (this.#backlog.isNearlyFull && this.#backlog.isFull(lane)) {
      this.#counters.dropped.laneFull++
      return
    }
    const durability = this.#laneRules.durabilityOf(message)
    const seq = this.#store.log.append(message, lane, durability)
    if (this.#keepsQos0) markDirect(recipients, seq)
    this.#counters.storedMessages++
    this.#awaitStored(durability)
  }

  /** The lane of the log is full, takes no more, and somebody durable wants the message. */
  #isLaneRefusing(message: Publish): boolean {
    if (!this.#backlog.isNearlyFull || message.qos === 0) return false
    const lane = this.#laneRules.laneOf(message)
    if (this.#backlog.whenFull(lane) !== 'refuse' || !this.#backlog.isFull(lane)) return false
    return this.#router.match(message.topic).some(wantsLog)
  }

  #refuseFull(): void {
    this.#counters.dropped.laneFull++
    this.reasonCode = ReasonCode.quotaExceeded
  }

  #refuseDelayed(): void {
    this.#counters.dropped.delayedRefused++
    this.reasonCode = ReasonCode.quotaExceeded
  }

  #refuseUnwritable(): void {
    this.#counters.dropped.storeFailed++
    this.reasonCode = ReasonCode.quotaExceeded
  }
}

function isForLog(message: Publish, recipient: Recipient): boolean {
  const { session } = recipient
  if (message.qos > 0 && recipient.qos > 0) return session.isDurable
  // QoS 0 waits only for those who are not there, or behind; to the others it goes at once.
  return session.limits.keepsQos0 && session.isDurable && session.reader !== 'live'
}

/** Who follows the log has had the QoS 0 that stands there for others. */
function markDirect(recipients: readonly Recipient[], seq: Seq): void {
  for (const { session } of recipients) {
    if (session.limits.keepsQos0 && session.reader === 'live') session.directSeq = seq
  }
}

/** The recipient gets its QoS >= 1 messages from the log. */
function wantsLog(recipient: Recipient): boolean {
  return recipient.qos > 0 && recipient.session.isDurable
}
