/**
 * What outlives a connection: subscriptions, packet ids in use both ways, and the place in the log (MQTT 5.0 §4.1).
 * A durable session has no queue of its own; the log is its queue, and `reader` says how it follows it:
 *
 *   detached --attach--> catching-up --nothing left to read--> live
 *      ^                      ^                                  |
 *      +------ detach --------+---- window or link full ---------+
 *
 * live: messages come straight from each group commit. catching-up: the session reads on by itself from `nextSeq`.
 * detached: nobody is there; nothing moves.
 *
 * A session that ends with its connection is live from the start and never reads the log; what its window cannot take waits in `waiting`.
 *
 * What the client and the broker must agree on after a crash is stored before it is told: that a packet id stands for
 * a QoS 2 message before PUBLISH, that it was received before PUBREL. Until then both stand in `outgoing`, and
 * everything later behind them.
 */
import { RingQueue } from '../lib/ring-queue.ts'
import type { WheelTimer } from '../lib/timer-wheel.ts'
import type { Lane } from '../ports/lane.ts'
import type { QueueLimits } from '../ports/local.ts'
import type { OutboundRecord, Seq, SessionRecord, SubscriptionRecord, Ticket } from '../ports/store.ts'
import type { Numbering } from '../protocol/numbering.ts'
import type { Qos, Version } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import type { Outbox } from './outbox.ts'
import type { SessionFeeds } from './retained-feed.ts'
import type { Recipient } from './router.ts'
import { SendWindow } from './send-window.ts'
import { noQueueLimits, SessionQueue } from './session-queue.ts'
import type { Subscription } from './subscription.ts'
import type { PendingWill } from './will.ts'

export type Reader = 'detached' | 'catching-up' | 'live'

/** Where the messages of a session go while somebody is there: a connection, or a client inside the process. */
export interface Attachment {
  /** QoS >= 1 messages that may be unacknowledged at a time. */
  readonly inflightMax: number
  /** false while the way out is full. */
  readonly canTake: boolean
  /** The peer remembers QoS 2 packet ids when this process ends. */
  readonly outlivesUs: boolean
  /** Where packets gather that the peer is sent; undefined inside the process. */
  readonly outbox?: Outbox
  /**
   * @param recipient what the subscriptions ask for; undefined when a message is sent again
   * @returns false when the peer refuses packets of this size
   */
  sendPublish(
    message: Publish,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    seq: Seq,
    recipient: Recipient | undefined,
  ): boolean
  sendPubrel(packetId: number): void
  /** The same client connected elsewhere; the session is no longer this attachment's. */
  onTakenOver(): void
}

/** The shared subscriptions of a session; told when something happens that its groups must hear of. */
export interface Memberships {
  /** The window has the slot of `packetId` free again. */
  onAcknowledged(packetId: number): void
  /** The client may be able to take more. */
  onRoom(): void
  onDetached(): void
  /** What the subscription asks for that brought the message; undefined when it was no shared one. */
  recipientOf(packetId: number): Recipient | undefined
}

/** A message that waits in memory for room in the send window. */
export type Waiting = {
  readonly message: Publish
  readonly qos: 1 | 2
  readonly retain: boolean
  readonly recipient: Recipient | undefined
}

/** A PUBLISH that has its packet id, or a PUBREL, on its way out. */
export type Outgoing = {
  /** The group commit to wait for; 0 = none. */
  readonly ticket: Ticket
  readonly packetId: number
  /** undefined = PUBREL. */
  readonly message: Publish | undefined
  readonly retain: boolean
  readonly dup: boolean
  readonly recipient: Recipient | undefined
}

/** What every session has before it has its own: an idle client costs no tables. Never written to. */
const noSubscriptions = new Map<string, Subscription>()
const noPacketIds = new Set<number>()
const nothingRestored = new Map<Seq, OutboundRecord>()

export class Session {
  readonly clientId: string
  version: Version
  epoch: number
  /** `Infinity` = never; 0 = ends with its connection. */
  expiryIntervalSeconds: number
  /** Kept in the store and served from the log. Once true it stays so until the session ends. */
  isDurable: boolean
  /** Made when the client is away for the first time. */
  expiryTimer: WheelTimer | undefined
  attachment: Attachment | undefined
  disconnectedAtMs: number | undefined
  /** The only lane it gets messages of; undefined = all. */
  lane: Lane | undefined
  will: PendingWill | undefined
  /** What new subscriptions still have to get of the retained messages; undefined = nothing. */
  retainedFeeds: SessionFeeds | undefined
  /** undefined while no shared subscription was made. */
  memberships: Memberships | undefined

  #subscriptions = noSubscriptions
  /** When the client wants its messages numbered. */
  numbering: Numbering | undefined
  readonly window = new SendWindow()
  readonly waiting: RingQueue<Waiting>
  /** Bounded by the window. */
  readonly outgoing = new RingQueue<Outgoing>(Number.POSITIVE_INFINITY)
  /** Incoming QoS 2 packet ids between PUBLISH and PUBREL. */
  #incomingQos2 = noPacketIds

  limits: QueueLimits = noQueueLimits
  /** undefined when the limits are none. */
  queue: SessionQueue | undefined
  /** With QoS 0 in the log: messages up to here came straight from their publishers, if they came at all. */
  directSeq: Seq = 0

  reader: Reader = 'detached'
  /** The next message of the log to look at; while live, no message before it is sent. */
  nextSeq: Seq
  /** A read of the log is under way. */
  isReading = false
  /** Room for a few messages is not used yet, as there may soon be room for more. */
  isBatchAwaited = false
  /** Up to here messages were sent by an earlier run of the process; those still open are in the window. */
  restoredSeq: Seq = 0
  /**
   * QoS 1 messages up to here may have been sent by a run that was killed while the client was there; which ones is not
   * stored. They go with DUP, which says no more than that.
   */
  perhapsSentSeq: Seq = 0
  /** What an earlier run had sent, also beyond `restoredSeq`, until the session has read past it. By rising seq. */
  restored: Map<Seq, OutboundRecord> = nothingRestored
  /** Of these, how many stand in the window and were not sent by this run yet. */
  unsentCount = 0
  /** The commit that its subscriptions are in; 0 = a former one. */
  subscribedTicket: Ticket = 0
  /** The cursor that the store knows. */
  savedCursor: Seq

  constructor(fixed: {
    clientId: string
    version: Version
    epoch: number
    expiryIntervalSeconds: number
    nextSeq: Seq
    waitingCountMax: number
  }) {
    this.clientId = fixed.clientId
    this.version = fixed.version
    this.epoch = fixed.epoch
    this.expiryIntervalSeconds = fixed.expiryIntervalSeconds
    this.isDurable = fixed.expiryIntervalSeconds > 0
    this.nextSeq = fixed.nextSeq
    this.savedCursor = fixed.nextSeq - 1
    this.waiting = new RingQueue<Waiting>(fixed.waitingCountMax)
  }

  /** By topic filter, a shared one with its `$share` in front. */
  get subscriptions(): ReadonlyMap<string, Subscription> {
    return this.#subscriptions
  }

  addSubscription(subscription: Subscription): void {
    if (this.#subscriptions === noSubscriptions) this.#subscriptions = new Map()
    this.#subscriptions.set(subscription.topicFilter, subscription)
  }

  removeSubscription(topicFilter: string): void {
    this.#subscriptions.delete(topicFilter)
  }

  removeSubscriptions(): void {
    this.#subscriptions = noSubscriptions
  }

  get incomingQos2(): ReadonlySet<number> {
    return this.#incomingQos2
  }

  addIncomingQos2(packetId: number): void {
    if (this.#incomingQos2 === noPacketIds) this.#incomingQos2 = new Set()
    this.#incomingQos2.add(packetId)
  }

  /** @returns whether it was there */
  removeIncomingQos2(packetId: number): boolean {
    return this.#incomingQos2.delete(packetId)
  }

  addRestored(record: OutboundRecord): void {
    if (this.restored === nothingRestored) this.restored = new Map()
    this.restored.set(record.seq, record)
  }

  /** Its messages are counted from now on, or counted anew. */
  limit(limits: QueueLimits): void {
    this.limits = limits
    this.queue = SessionQueue.of(limits)
    this.forgetCount()
  }

  /** What waits in the log is not what it was. */
  forgetCount(): void {
    if (this.queue !== undefined && this.reader !== 'live') this.queue.isCounted = false
  }

  /** Up to here the session has seen the log. */
  #seenSeq(routedSeq: Seq): Seq {
    return this.reader === 'live' ? Math.max(routedSeq, this.nextSeq - 1) : this.nextSeq - 1
  }

  /** Every message up to here is done with. @param routedSeq how far live sessions were served */
  cursor(routedSeq: Seq): Seq {
    const seenSeq = this.#seenSeq(routedSeq)
    const oldest = this.window.oldestSeq
    return oldest === undefined ? seenSeq : Math.min(oldest - 1, seenSeq)
  }

  toRecord(routedSeq: Seq): SessionRecord {
    return {
      clientId: this.clientId,
      epoch: this.epoch,
      version: this.version,
      expiryIntervalSeconds: this.expiryIntervalSeconds,
      disconnectedAtMs: this.disconnectedAtMs,
      subscriptions: this.#subscriptionRecords(),
      cursor: this.cursor(routedSeq),
      sentSeq: Math.max(this.restoredSeq, this.#seenSeq(routedSeq)),
      outbound: this.#outboundRecords(),
      will: this.will?.toRecord(),
    }
  }

  #subscriptionRecords(): SubscriptionRecord[] {
    const records: SubscriptionRecord[] = []
    for (const subscription of this.subscriptions.values()) {
      if (!subscription.isLeaving) records.push(subscription.toRecord())
    }
    return records
  }

  /** What is open, and what an earlier run was done with ahead of the place that the session has reached. */
  #outboundRecords(): OutboundRecord[] {
    const open = this.window.toRecords()
    const openSeqs = new Set(open.map(({ seq }) => seq))
    const done = [...this.restored.values()].filter(({ seq }) => !openSeqs.has(seq))
    return [...done.map((record) => ({ ...record, isReleased: true })), ...open]
  }
}
