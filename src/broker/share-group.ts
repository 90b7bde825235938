/**
 * One shared subscription: a session of its own that is subscribed to the filter, and whose attachment is its members.
 * Router, log and delivery treat it like any other session; here each message that it gets is handed to one member.
 *
 *   log or publisher -> session of the group -> a member with room -> acknowledged there -> acknowledged here
 *
 * A message that no member has room for stays with the group: in memory, or in the log once a durable session with
 * QoS >= 1 is a member. A QoS 1 message whose member goes is handed to another one; a QoS 2 message stays with the
 * member it was begun with (MQTT 5.0 §4.8.2).
 */
import { assert } from '../lib/assert.ts'
import { RingQueue } from '../lib/ring-queue.ts'
import type { Seq } from '../ports/store.ts'
import type { Qos } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import type { Core } from './core.ts'
import { Recipient } from './router.ts'
import { SlotState } from './send-window.ts'
import type { Attachment, Memberships, Session } from './session.ts'
import { type FirstMember, firstMember } from './share-strategy.ts'
import type { Subscription } from './subscription.ts'

/** Messages that the members of one group together may have unacknowledged. */
const groupInflightMax = 32_768

/** A subscription of a session as a place in a group. */
export class Member {
  readonly subscription: Subscription
  readonly recipient: Recipient

  constructor(subscription: Subscription) {
    this.subscription = subscription
    this.recipient = new Recipient(subscription)
  }

  get session(): Session {
    return this.subscription.session
  }

  get isOnline(): boolean {
    return this.session.attachment !== undefined
  }

  /** Whether it can take a message of `qos` now. */
  hasRoom(qos: Qos): boolean {
    const { attachment, window, waiting, unsentCount } = this.session
    if (attachment === undefined || !attachment.canTake) return false
    if (lower(qos, this.recipient.qos) === 0) return true
    return window.count - unsentCount < attachment.inflightMax && waiting.length === 0
  }
}

/** A message of a group that stands in the window of the group and, while a member has it, in that member's too. */
type Handed = {
  readonly group: ShareGroup
  readonly packetId: number
  readonly message: Publish
  readonly qos: Qos
  readonly retain: boolean
}

/** What one session holds for its groups. */
export class Membership implements Memberships {
  readonly #session: Session
  readonly groups = new Set<ShareGroup>()
  /** By packet id in the window of the session. */
  readonly #handed = new Map<number, Handed & { readonly recipient: Recipient }>()

  constructor(session: Session) {
    this.#session = session
  }

  hold(packetId: number, handed: Handed, recipient: Recipient): void {
    this.#handed.set(packetId, { ...handed, recipient })
  }

  recipientOf(packetId: number): Recipient | undefined {
    return this.#handed.get(packetId)?.recipient
  }

  onAcknowledged(packetId: number): void {
    const handed = this.#handed.get(packetId)
    this.#handed.delete(packetId)
    handed?.group.acknowledged(handed.packetId)
    this.onRoom()
  }

  onRoom(): void {
    for (const group of this.groups) group.onRoom()
  }

  onDetached(): void {
    const touched = new Set<ShareGroup>()
    for (const { group } of this.#handed.values()) touched.add(group)
    for (const group of touched) {
      if (this.groups.has(group)) group.onMemberAway(this)
      else this.leave(group)
      group.onRoom()
    }
  }

  /** The session does not come back as a member: the group gets back what it may give to others. */
  leave(group: ShareGroup): void {
    this.giveBack(group)
    for (const [packetId, handed] of this.#handed) {
      if (handed.group !== group) continue
      this.#handed.delete(packetId)
      group.abandoned(handed.packetId, this.#session.window.stateOf(packetId) === SlotState.released)
    }
  }

  /** Takes QoS 1 messages out of the window again, unless the client is there to acknowledge them. */
  giveBack(group: ShareGroup): void {
    if (this.#session.attachment !== undefined) return
    for (const [packetId, handed] of this.#handed) {
      if (handed.group !== group || this.#session.window.stateOf(packetId) !== SlotState.sentQos1) continue
      this.#session.window.close(packetId)
      this.#handed.delete(packetId)
      group.takeBack(handed)
    }
  }
}

export class ShareGroup implements Attachment {
  readonly #core: Core
  readonly #topicFilter: string
  readonly #firstMember: FirstMember
  readonly #session: Session
  readonly #members: Member[] = []
  /** Hold messages of the group while their client is away. */
  readonly #away = new Set<Membership>()
  /** Were with a member and wait for another one; older than everything that the session has not sent. */
  readonly #returned = new RingQueue<Handed>(Number.POSITIVE_INFINITY)

  /**
   * @param name `$share/{share name}/{topic filter}`, also the client id of the group's session
   * @param isDurable the session is kept in the store
   */
  constructor(core: Core, name: string, topicFilter: string, isDurable: boolean) {
    this.#core = core
    this.#topicFilter = topicFilter
    this.#firstMember = firstMember(core.settings.sharedSubscriptionStrategy, core.random)
    this.#session = this.#open(name, isDurable)
    core.delivery.attached(this.#session, this)
  }

  get isEmpty(): boolean {
    return this.#members.length === 0
  }

  add(subscription: Subscription): void {
    this.#members.push(new Member(subscription))
    if (wantsLog(subscription) && !this.#session.isDurable) this.#becomeDurable()
    this.#subscribe()
    this.onRoom()
  }

  remove(subscription: Subscription): void {
    const index = this.#members.findIndex((member) => member.subscription === subscription)
    if (index >= 0) this.#members.splice(index, 1)
    if (this.#members.length > 0) this.#subscribe()
  }

  /** Nothing is handed out any more. */
  pause(): void {
    this.#core.delivery.detached(this.#session)
  }

  end(): void {
    this.pause()
    this.#core.sessions.end(this.#session)
  }

  /** A member may take more, or is new, or is back. */
  onRoom(): void {
    if (this.#session.attachment === undefined) return
    if (this.#away.size > 0 && this.#members.some((member) => member.isOnline)) {
      for (const membership of this.#away) membership.giveBack(this)
      this.#away.clear()
    }
    this.#handOutReturned()
    const { outgoing, waiting, reader } = this.#session
    if (outgoing.length > 0 || waiting.length > 0 || reader === 'catching-up')
      this.#core.delivery.advance(this.#session)
  }

  /** What it has not acknowledged waits for it until somebody else is there to take it. */
  onMemberAway(membership: Membership): void {
    this.#away.add(membership)
  }

  acknowledged(packetId: number): void {
    this.#core.delivery.acknowledged(this.#session, packetId)
  }

  /** @param isReceived the client said that it has the QoS 2 message */
  abandoned(packetId: number, isReceived: boolean): void {
    if (!isReceived) {
      this.#core.counters.dropped.shareMemberGone++ // [MQTT-4.8.2-5]
      this.#core.delivery.recordLoss('share_member_gone', this.#session, packetId)
    }
    this.acknowledged(packetId)
  }

  takeBack(handed: Handed): void {
    this.#returned.push(handed)
  }

  // ---- Attachment: what the session of the group is given goes to a member ----

  readonly outlivesUs = false

  get inflightMax(): number {
    return this.#returned.length === 0 && this.#hasRoom(2) ? groupInflightMax : 0
  }

  get canTake(): boolean {
    return this.#hasRoom(0)
  }

  sendPublish(
    message: Publish,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    _seq: Seq,
    _recipient: Recipient | undefined,
  ): boolean {
    const handed = { group: this, packetId, message, qos, retain }
    if (dup) {
      // An earlier run of the process had it under way; nobody here knows whose it was.
      this.#returned.push(handed)
      this.#handOutReturned()
    } else if (!this.#handOut(handed)) {
      return false
    }
    this.#core.counters.sentMessages-- // The copy of the member was counted, and is the only one.
    return true
  }

  sendPubrel(_packetId: number): void {
    // The group acknowledges a message once, whatever its QoS, so that there is nothing to release.
  }

  onTakenOver(): void {
    assert(false, `two owners of the session ${this.#session.clientId}`)
  }

  #hasRoom(qos: Qos): boolean {
    for (const member of this.#members) if (member.hasRoom(qos)) return true
    return false
  }

  /** @returns false when everybody who has room refuses packets of this size */
  #handOut(handed: Handed): boolean {
    const members = this.#members
    const first = this.#firstMember(handed.message, members)
    for (let offset = 0; offset < members.length; offset++) {
      const member = members[(first + offset) % members.length] as Member
      if (member.hasRoom(handed.qos) && this.#handTo(member, handed)) return true
    }
    return false
  }

  #handTo(member: Member, handed: Handed): boolean {
    const { session, recipient } = member
    const { message } = handed
    const qos = lower(handed.qos, recipient.qos) // [MQTT-4.8.2-3]
    const retain = handed.retain && recipient.retainAsPublished
    if (qos === 0) {
      if (session.attachment?.sendPublish(message, 0, retain, false, 0, 0, recipient) !== true) return false
      this.#core.counters.sentMessages++
      if (handed.packetId !== 0) this.#session.window.close(handed.packetId)
      return true
    }
    const packetId = this.#core.delivery.hand(recipient, message.own(), qos, retain)
    if (packetId === 0) return false
    ;(session.memberships as Membership).hold(packetId, handed, recipient)
    return true
  }

  #handOutReturned(): void {
    while (this.#returned.length > 0 && this.#hasRoom(2)) {
      const handed = this.#returned.shift() as Handed
      const { counters, clock, delivery } = this.#core
      if (handed.message.expiresAtMs <= clock.nowMs()) {
        counters.dropped.expired++ // [MQTT-3.3.2-5]
        delivery.recordLoss('expired', this.#session, handed.packetId)
      } else if (this.#handOut(handed)) {
        continue
      } else {
        counters.dropped.tooLarge++
        delivery.recordLoss('too_large', this.#session, handed.packetId)
      }
      this.#session.window.close(handed.packetId)
    }
  }

  #open(clientId: string, isDurable: boolean): Session {
    return this.#core.sessions.openInside(clientId, isDurable ? Number.POSITIVE_INFINITY : 0)
  }

  /** From here on messages of QoS >= 1 come from the log; what is under way or waits stays where it is. */
  #becomeDurable(): void {
    this.#core.delivery.detached(this.#session)
    this.#open(this.#session.clientId, true)
    this.#core.delivery.attached(this.#session, this)
  }

  /** The group asks for the highest QoS that one of its members was granted. */
  #subscribe(): void {
    const { sessions, store } = this.#core
    let qos: Qos = 0
    for (const { recipient } of this.#members) if (recipient.qos > qos) qos = recipient.qos
    const former = this.#session.subscriptions.get(this.#topicFilter)
    if (former?.qos === qos) return
    sessions.subscribe(this.#session, {
      topicFilter: this.#topicFilter,
      qos,
      noLocal: false,
      retainAsPublished: true,
      retainHandling: 2,
      subscriptionIdentifier: undefined,
      sinceSeq: former?.sinceSeq ?? store.log.lastSeq,
    })
    sessions.save(this.#session)
  }
}

/** Messages for the subscription must outlive the process. */
export function wantsLog(subscription: Subscription): boolean {
  return subscription.qos > 0 && subscription.session.isDurable
}

function lower(a: Qos, b: Qos): Qos {
  return a < b ? a : b
}
