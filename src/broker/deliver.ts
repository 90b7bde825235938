/**
 * A message and a recipient: QoS, window, packet id, and what happens when there is no room. Every drop in the broker
 * stands here, each with its counter.
 *
 *   not in the log:  sent now, or waits in memory up to a bound (QoS >= 1), or is dropped (QoS 0)
 *   in the log:      sent now, or the session falls back to reading the log by itself
 */
import { must } from '../lib/assert.ts'
import type { Clock } from '../ports/clock.ts'
import { everyLane, type LossReason } from '../ports/ledger.ts'
import type { Log } from '../ports/log.ts'
import type { MessageLog, ReadLimit, Seq, Store, StoredMessage } from '../ports/store.ts'
import type { Qos } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import type { Counters } from './counters.ts'
import { Departures } from './departures.ts'
import type { LaneRules } from './lane-rules.ts'
import type { Ledger } from './ledger.ts'
import { scanLog } from './log-scan.ts'
import { noTicket } from './publish.ts'
import type { Recipient, Router } from './router.ts'
import { SlotState } from './send-window.ts'
import type { Attachment, Session, Waiting } from './session.ts'
import type { SessionQueue } from './session-queue.ts'

const readLimit = { countMax: 512, bytesMax: 1_048_576 } as const

/** A session that reads the log is sent this many messages at a time, if its client acknowledges them within the delay. */
const batchCount = 32
const batchDelayMs = 5

/** After a failed read of the log the next try waits this long. */
const readRetryMs = 1000

export class Delivery {
  readonly #clock: Clock
  readonly #log: Log
  readonly #messages: MessageLog
  readonly #router: Router
  readonly #counters: Counters
  readonly #ledger: Ledger
  readonly #laneRules: LaneRules
  /** Up to here live sessions have been served. */
  #routedSeq: Seq
  #isRouting = false
  readonly #departures: Departures

  constructor(parts: {
    clock: Clock
    log: Log
    store: Store
    router: Router
    counters: Counters
    ledger: Ledger
    laneRules: LaneRules
  }) {
    this.#clock = parts.clock
    this.#log = parts.log
    this.#messages = parts.store.log
    this.#router = parts.router
    this.#counters = parts.counters
    this.#ledger = parts.ledger
    this.#laneRules = parts.laneRules
    this.#departures = new Departures(parts)
    this.#routedSeq = parts.store.log.lastSeq
  }

  get routedSeq(): Seq {
    return this.#routedSeq
  }

  /** Hands a message to a recipient straight from its publisher. */
  now(recipient: Recipient, message: Publish): void {
    const session = recipient.session
    const qos = lower(message.qos, recipient.qos)
    const retain = message.retain && recipient.retainAsPublished // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
    if (qos === 0) this.#sendQos0(session, message, retain, recipient)
    else this.#sendOrWait(session, message, qos, retain, recipient)
  }

  /** A retained message for a new subscription; it goes out with the retain flag set [MQTT3-3.3.1-8]. */
  retained(recipient: Recipient, message: Publish): void {
    const qos = lower(message.qos, recipient.qos)
    if (qos === 0) this.#sendQos0(recipient.session, message, true, recipient)
    else this.#sendOrWait(recipient.session, message, qos, true, recipient)
  }

  /** Retained messages leave room for live ones: half of the window, and nothing waits. */
  hasRoomForRetained({ session, qos }: Recipient): boolean {
    const { attachment, window, waiting } = session
    if (attachment === undefined || !attachment.canTake) return false
    return qos === 0 || (waiting.length === 0 && window.count - session.unsentCount < attachment.inflightMax / 2)
  }

  /**
   * A message of a group for one of its members, who is there and has room (share-group.ts).
   * @returns the packet id in the member's window; 0 when the client refuses packets of this size
   */
  hand(recipient: Recipient, message: Publish, qos: 1 | 2, retain: boolean): number {
    const { session } = recipient
    return this.#open(session, must(session.attachment, 'client of a member'), message, qos, retain, recipient, 0)
  }

  /** A group commit is durable: what waited for it goes out, then what is new in the log. */
  onDurable(): void {
    for (const session of this.#departures.waiting) this.advance(session)
    this.#routeDurable()
  }

  /** Serves live sessions with what became durable. */
  #routeDurable(): void {
    if (this.#isRouting) return
    this.#isRouting = true
    while (this.#routedSeq < this.#messages.durableSeq) {
      let isAnswered = false
      let isInside = true
      const durableSeq = this.#messages.durableSeq
      this.#messages.read(this.#routedSeq + 1, readLimit, (stored, failure) => {
        isAnswered = true
        if (failure === undefined) this.#route(stored, durableSeq)
        else this.#log.error({ err: failure, seq: this.#routedSeq + 1 }, 'log cannot be read')
        if (isInside && failure === undefined) return
        this.#isRouting = false
        if (failure === undefined) this.#routeDurable()
        else this.#clock.after(readRetryMs, () => this.#routeDurable())
      })
      isInside = false
      if (!isAnswered || !this.#isRouting) return
    }
    this.#isRouting = false
  }

  /** @param askedUpTo where the log ended when `stored` was asked for: an empty answer means nothing is left up to there */
  #route(stored: readonly StoredMessage[], askedUpTo: Seq): void {
    if (stored.length === 0) this.#routedSeq = askedUpTo
    for (const { seq, publish, lane } of stored) {
      const recipients = this.#router.match(publish.topic)
      for (let i = 0; i < recipients.length; i++) {
        const recipient = recipients[i] as Recipient
        const session = recipient.session
        if (session.lane !== undefined && session.lane !== lane) continue
        if (seq < session.nextSeq) continue
        if (session.reader !== 'live') {
          const { queue } = session
          if (queue?.isCounted === true && wants(recipient, publish, seq)) queue.add(seq, publish)
        } else if (!this.#sendStored(recipient, publish, seq)) {
          session.reader = 'catching-up'
          session.nextSeq = seq
          session.queue?.add(seq, publish)
        }
      }
      this.#routedSeq = seq
    }
  }

  /** The client is there: sends again what it has not acknowledged [MQTT-4.4.0-1], then goes on in the log. */
  attached(session: Session, attachment: Attachment): void {
    session.attachment = attachment
    if (session.window.count > 0) this.#sendAllAgain(session, attachment)
    session.reader = session.isDurable ? 'catching-up' : 'live'
    this.advance(session)
  }

  /** In the order of the log: what an earlier run had sent may have an older packet id than a message before it. */
  #sendAllAgain(session: Session, attachment: Attachment): void {
    const { window } = session
    const packetIds = [...window.packetIds()].sort((one, other) => window.seqOf(one) - window.seqOf(other))
    for (const packetId of packetIds) this.#sendAgain(session, attachment, packetId)
  }

  detached(session: Session): void {
    session.attachment = undefined
    this.#departures.forget(session)
    if (session.reader === 'live') session.nextSeq = Math.max(session.nextSeq, this.#routedSeq + 1)
    session.reader = 'detached'
    session.memberships?.onDetached()
  }

  /** There may be room again: after an acknowledgement, or because the link drained. */
  advance(session: Session): void {
    const attachment = session.attachment
    if (attachment === undefined) return
    if (session.outgoing.length > 0) this.#departures.letOut(session, attachment)
    while (session.waiting.length > 0 && hasRoom(session, attachment)) {
      const { message, qos, retain, recipient } = session.waiting.shift() as Waiting
      this.#send(session, attachment, message, qos, retain, recipient, 0)
    }
    if (session.reader === 'catching-up') this.#catchUp(session)
    session.memberships?.onRoom()
    session.retainedFeeds?.onRoom(session)
  }

  /** PUBREC: from here on only PUBREL is sent again [MQTT-4.3.3-4]. */
  received(session: Session, packetId: number): void {
    session.window.release(packetId)
    const { attachment } = session
    if (attachment === undefined) return
    const ticket = this.#departures.record(session, attachment, packetId, this.#routedSeq)
    this.#departures.pubrel(session, attachment, packetId, ticket)
  }

  /** PUBACK, or PUBCOMP, or a PUBREC that refuses. */
  acknowledged(session: Session, packetId: number): void {
    session.window.close(packetId)
    if (session.waiting.length > 0) this.advance(session)
    else if (session.reader === 'catching-up') this.#catchUpInBatches(session)
    session.memberships?.onAcknowledged(packetId)
    session.retainedFeeds?.onRoom(session)
  }

  /**
   * A client that acknowledges message by message would be sent the backlog message by message, each in a write of its
   * own. So a session that is behind waits for room for a batch, but never for long.
   */
  #catchUpInBatches(session: Session): void {
    const { attachment } = session
    if (attachment === undefined) return
    if (roomOf(session, attachment) >= Math.min(batchCount, attachment.inflightMax >> 2)) {
      this.advance(session)
    } else if (!session.isBatchAwaited) {
      session.isBatchAwaited = true
      this.#clock.after(batchDelayMs, () => {
        session.isBatchAwaited = false
        this.advance(session)
      })
    }
  }

  /** Reads on in the log until it ends or there is no room. Never runs twice at a time for one session. */
  #catchUp(session: Session): void {
    if (session.isReading) return
    if (session.queue?.isCounted === false) {
      this.#countQueue(session, session.queue)
      return
    }
    session.isReading = true
    while (session.reader === 'catching-up' && session.attachment && hasRoom(session, session.attachment)) {
      if (session.nextSeq > this.#messages.durableSeq) {
        session.reader = 'live'
        session.queue?.clear()
        break
      }
      let isAnswered = false
      let isInside = true
      const durableSeq = this.#messages.durableSeq
      const limit = readLimitOf(session, roomOf(session, session.attachment))
      this.#messages.read(session.nextSeq, limit, (stored, failure) => {
        isAnswered = true
        if (failure === undefined) {
          this.#sendRead(session, stored, durableSeq)
          this.#departures.hasRead(session, this.#routedSeq)
        } else this.#log.error({ err: failure, clientId: session.clientId, seq: session.nextSeq }, 'log cannot be read')
        if (isInside && failure === undefined) return
        session.isReading = false
        if (failure === undefined) this.advance(session)
        else this.#clock.after(readRetryMs, () => this.advance(session))
      })
      isInside = false
      if (!isAnswered || !session.isReading) return
    }
    session.isReading = false
  }

  #sendRead(session: Session, stored: readonly StoredMessage[], askedUpTo: Seq): void {
    if (stored.length === 0 && session.reader === 'catching-up') {
      session.nextSeq = Math.max(session.nextSeq, askedUpTo + 1)
      this.#forgetRestored(session, session.nextSeq)
    }
    for (const message of stored) {
      const { seq, publish } = message
      if (session.reader !== 'catching-up') return
      if (seq < session.nextSeq) continue
      this.#forgetRestored(session, seq)
      if (seq <= session.restoredSeq || session.restored.has(seq)) {
        if (!this.#sendRestored(session, publish, seq)) return
      } else {
        const recipient = this.#recipientOf(session, publish.topic)
        if (recipient !== undefined && wants(recipient, publish, seq)) {
          if (!this.#dropExcess(session, message) && !this.#sendStored(recipient, publish, seq)) return
          if (seq <= this.#routedSeq) session.queue?.remove(seq, publish)
        }
      }
      session.nextSeq = seq + 1
    }
  }

  /** Counts what waits, up to where live sessions are; then the session reads on. */
  #countQueue(session: Session, queue: SessionQueue): void {
    session.isReading = true
    queue.clear()
    queue.isCounted = false
    const count = (stored: readonly StoredMessage[], askedUpTo: Seq): Seq | undefined => {
      for (const { seq, publish } of stored) {
        if (seq > this.#routedSeq || seq <= session.restoredSeq || session.restored.has(seq)) continue
        const recipient = this.#recipientOf(session, publish.topic)
        if (recipient !== undefined && wants(recipient, publish, seq)) queue.add(seq, publish)
      }
      const next = (stored.at(-1)?.seq ?? askedUpTo) + 1
      if (session.attachment !== undefined && next <= this.#routedSeq) return next
      session.isReading = false
      queue.isCounted = next > this.#routedSeq
      this.advance(session)
      return undefined
    }
    scanLog(this.#messages, session.nextSeq, readLimitOf(session, readLimit.countMax), count, (failure) => {
      session.isReading = false
      this.#log.error({ err: failure, clientId: session.clientId }, 'log cannot be read')
      this.#clock.after(readRetryMs, () => this.advance(session))
    })
  }

  /** @returns whether the message, the oldest that waits, went because the queue of the session is over its bounds */
  #dropExcess(session: Session, { seq, publish, lane, atMs }: StoredMessage): boolean {
    const reason = session.queue?.excess(seq, publish, atMs, this.#clock.nowMs())
    if (reason === undefined) return false
    if (reason === 'queue_full') this.#counters.dropped.sessionQueueFull++
    else if (reason === 'too_old') this.#counters.dropped.tooOld++
    else this.#counters.dropped.thinned++
    if (publish.qos > 0) this.#ledger.dropped(reason, session.clientId, lane, seq)
    return true
  }

  /** The message that has this packet id is given up; of what was stored, the ledger is told. */
  recordLoss(reason: LossReason, { clientId, lane, window }: Session, packetId: number): void {
    const seq = window.stateOf(packetId) === SlotState.free ? 0 : window.seqOf(packetId)
    if (seq === 0) return
    const message = window.messageOf(packetId)
    const ownLane = lane ?? (message === undefined ? everyLane : this.#laneRules.laneOf(message))
    this.#ledger.dropped(reason, clientId, ownLane, seq)
  }

  /** A message that an earlier run had sent: only if it is still open, under its packet id. */
  #sendRestored(session: Session, message: Publish, seq: Seq): boolean {
    const attachment = session.attachment
    if (attachment === undefined || !hasRoom(session, attachment)) return false
    if (session.restored.get(seq)?.isReleased === false) session.unsentCount--
    session.restored.delete(seq)
    const packetId = session.window.packetIdOfSeq(seq)
    const state = packetId === 0 ? SlotState.free : session.window.stateOf(packetId)
    if (state === SlotState.sentQos1 || state === SlotState.sentQos2) {
      session.window.keep(packetId, message)
      this.#sendAgain(session, attachment, packetId)
    }
    return true
  }

  /** What an earlier run had sent and the log no longer has cannot come again, but the client may hold its packet id. */
  #forgetRestored(session: Session, before: Seq): void {
    for (const [seq, { isReleased }] of session.restored) {
      if (seq >= before) return
      session.restored.delete(seq)
      if (!isReleased) session.unsentCount--
      const packetId = session.window.packetIdOfSeq(seq)
      const state = packetId === 0 ? SlotState.free : session.window.stateOf(packetId)
      if (state === SlotState.sentQos1) session.window.close(packetId)
      else if (state === SlotState.sentQos2) this.received(session, packetId)
    }
  }

  #sendAgain(session: Session, attachment: Attachment, packetId: number): void {
    const state = session.window.stateOf(packetId)
    const ticket = state === SlotState.sentQos1 ? noTicket : this.#departures.ticketAgain(session, attachment)
    if (state === SlotState.released) {
      this.#departures.pubrel(session, attachment, packetId, ticket)
      return
    }
    const message = session.window.messageOf(packetId)
    if (message === undefined) return // Sent by an earlier run: it comes again when the log is read.
    const recipient = session.memberships?.recipientOf(packetId) ?? this.#recipientOf(session, message.topic)
    const retain = message.retain && (recipient?.retainAsPublished ?? false)
    this.#departures.publish(session, attachment, { ticket, packetId, message, retain, dup: true, recipient }) // [MQTT-3.3.1-1]
  }

  /** @returns false when there is no room: the session must come back to `seq` */
  #sendStored(recipient: Recipient, message: Publish, seq: Seq): boolean {
    const session = recipient.session
    const attachment = session.attachment
    if (attachment === undefined || !wants(recipient, message, seq)) return true
    // What waits in memory is older and goes first.
    if (session.waiting.length > 0 || !hasRoom(session, attachment)) return false
    const qos = lower(message.qos, recipient.qos)
    const retain = message.retain && recipient.retainAsPublished
    if (qos === 0) this.#sendQos0(session, message, retain, recipient)
    else this.#send(session, attachment, message, qos, retain, recipient, seq)
    return true
  }

  #sendQos0(session: Session, message: Publish, retain: boolean, recipient: Recipient): void {
    const attachment = session.attachment
    if (attachment === undefined) {
      this.#counters.dropped.offlineQos0++
    } else if (!attachment.canTake) {
      this.#counters.dropped.linkFull++
    } else if (this.#isExpired(message)) {
      this.#counters.dropped.expired++
    } else if (attachment.sendPublish(message, 0, retain, false, 0, 0, recipient)) {
      this.#counters.sentMessages++
    } else {
      this.#counters.dropped.tooLarge++
    }
  }

  #sendOrWait(session: Session, message: Publish, qos: 1 | 2, retain: boolean, recipient: Recipient): void {
    const attachment = session.attachment
    if (attachment !== undefined && session.waiting.length === 0 && hasRoom(session, attachment)) {
      this.#send(session, attachment, message, qos, retain, recipient, 0)
    } else if (!session.waiting.push({ message: message.own(), qos, retain, recipient })) {
      this.#counters.dropped.queueFull++
    }
  }

  #send(
    session: Session,
    attachment: Attachment,
    message: Publish,
    qos: Qos,
    retain: boolean,
    recipient: Recipient | undefined,
    seq: Seq,
  ): void {
    if (this.#isExpired(message)) {
      this.#counters.dropped.expired++ // [MQTT-3.3.2-5]
      if (seq > 0) this.#ledger.dropped('expired', session.clientId, this.#laneRules.laneOf(message), seq)
      return
    }
    if (this.#open(session, attachment, message, qos, retain, recipient, seq) === 0) {
      this.#counters.dropped.tooLarge++
      if (seq > 0) this.#ledger.dropped('too_large', session.clientId, this.#laneRules.laneOf(message), seq)
    }
  }

  /** @returns the packet id; 0 when the client refuses packets of this size */
  #open(
    session: Session,
    attachment: Attachment,
    message: Publish,
    qos: Qos,
    retain: boolean,
    recipient: Recipient | undefined,
    seq: Seq,
  ): number {
    // A session that ends with its connection never sends again, so its window needs no copy of the message.
    const packetId = session.window.open(qos as 1 | 2, seq, session.isDurable ? message.own() : undefined)
    const ticket = qos === 2 ? this.#departures.record(session, attachment, packetId, this.#routedSeq) : noTicket
    const dup = qos === 1 && seq > 0 && seq <= session.perhapsSentSeq // [MQTT-3.3.1-1]
    if (ticket > noTicket || session.outgoing.length > 0) {
      this.#departures.publish(session, attachment, { ticket, packetId, message, retain, dup, recipient })
      return packetId
    }
    if (attachment.sendPublish(message, qos, retain, dup, packetId, seq, recipient)) {
      this.#counters.sentMessages++
      return packetId
    }
    session.window.close(packetId)
    return 0
  }

  /** What the subscriptions of one session ask for; undefined when none matches. */
  #recipientOf(session: Session, topic: string): Recipient | undefined {
    return this.#router.match(topic).find((candidate) => candidate.session === session)
  }

  #isExpired(message: Publish): boolean {
    return message.expiresAtMs !== Number.POSITIVE_INFINITY && message.expiresAtMs <= this.#clock.nowMs()
  }
}

function hasRoom(session: Session, attachment: Attachment): boolean {
  return roomOf(session, attachment) > 0 && attachment.canTake
}

/** Messages that fit into the window. */
function roomOf({ window, unsentCount }: Session, attachment: Attachment): number {
  return attachment.inflightMax - window.count + unsentCount
}

/** Whether a message of the log is for the recipient, and still to be sent. */
function wants(recipient: Recipient, message: Publish, seq: Seq): boolean {
  const { session } = recipient
  if (!session.isDurable || seq <= recipient.sinceSeq) return false
  if (recipient.noLocal && message.publisher === session.clientId) return false // [MQTT-3.8.3-3]
  if (message.qos > 0 && recipient.qos > 0) return true
  // Otherwise it went out when it was published.
  return session.limits.keepsQos0 && seq > session.directSeq
}

function readLimitOf({ lane }: Session, countMax: number): ReadLimit {
  return { countMax: Math.min(readLimit.countMax, countMax), bytesMax: readLimit.bytesMax, lane }
}

function lower(a: Qos, b: Qos): Qos {
  return Math.min(a, b) as Qos
}
