/** A client inside the process (ports/local.ts): a durable session whose attachment is a consumer, not a link. */
import { assert } from '../lib/assert.ts'
import type { LocalConsumer, LocalSession, LocalSessionOptions, QueueLimits } from '../ports/local.ts'
import type { RetainedTopic } from '../ports/retained.ts'
import type { LaneExtent, Seq, Ticket } from '../ports/store.ts'
import type { Numbering } from '../protocol/numbering.ts'
import type { Qos, SubscriptionRequest } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import type { Core } from './core.ts'
import type { Recipient } from './router.ts'
import { SlotState } from './send-window.ts'
import type { Attachment, Session } from './session.ts'

export class LocalClient implements LocalSession, Attachment {
  readonly #core: Core
  readonly #consumer: LocalConsumer
  readonly #onClose: (client: LocalClient) => void
  readonly #session: Session
  #inflightMax = 1

  /** @param onClose nobody has it open any more */
  constructor(
    core: Core,
    clientId: string,
    consumer: LocalConsumer,
    { lane, limits, packetIds }: LocalSessionOptions,
    onClose: (client: LocalClient) => void,
  ) {
    assert(clientId.startsWith('$'), 'client ids inside the house begin with $')
    this.#core = core
    this.#consumer = consumer
    this.#onClose = onClose
    this.#session = core.sessions.openInside(clientId, Number.POSITIVE_INFINITY)
    this.#session.lane = lane
    if (limits !== undefined) this.#session.limit(limits)
    if (packetIds !== undefined) this.#session.window.restrict(packetIds.first, packetIds.last)
  }

  get clientId(): string {
    return this.#session.clientId
  }

  get inflightMax(): number {
    return Math.min(this.#inflightMax, this.#consumer.inflightMax ?? this.#inflightMax)
  }

  limit(limits: QueueLimits): void {
    this.#session.limit(limits)
  }

  subscribe(subscriptions: readonly SubscriptionRequest[]): void {
    const { sessions, store } = this.#core
    const wanted = new Set(subscriptions.map((request) => request.topicFilter))
    for (const topicFilter of [...this.#session.subscriptions.keys()]) {
      if (!wanted.has(topicFilter)) sessions.unsubscribe(this.#session, topicFilter)
    }
    for (const request of subscriptions) {
      const former = this.#session.subscriptions.get(request.topicFilter)
      const sinceSeq = former?.sinceSeq ?? store.log.lastSeq
      sessions.subscribe(this.#session, { ...request, subscriptionIdentifier: undefined, sinceSeq })
    }
    sessions.save(this.#session)
  }

  attach(inflightMax: number): void {
    this.#inflightMax = inflightMax
    this.#core.delivery.attached(this.#session, this)
  }

  detach(): void {
    if (this.#session.attachment === undefined) return
    this.#core.delivery.detached(this.#session)
    this.#core.sessions.save(this.#session)
  }

  close(): void {
    this.detach()
    this.#onClose(this)
  }

  acknowledge(packetId: number): void {
    if (this.#session.window.stateOf(packetId) === SlotState.free) return
    this.#core.delivery.acknowledged(this.#session, packetId)
  }

  received(packetId: number): void {
    const state = this.#session.window.stateOf(packetId)
    if (state === SlotState.sentQos2 || state === SlotState.released) {
      this.#core.delivery.received(this.#session, packetId)
    }
  }

  refuse(packetId: number): void {
    this.#core.delivery.recordLoss('remote_refused', this.#session, packetId)
    this.acknowledge(packetId)
  }

  resume(): void {
    this.#core.delivery.advance(this.#session)
  }

  publish(message: Publish): Ticket | undefined {
    const { publishPath, store } = this.#core
    const { incomingQos2, clientId } = this.#session
    const { qos, packetId } = message
    const isHandshake = qos === 2 && packetId !== 0
    if (isHandshake && incomingQos2.has(packetId)) return this.openTicket // [MQTT-4.3.3-10]
    publishPath.publish(message, undefined, this.#session, undefined)
    if (publishPath.reasonCode >= 0x80) return undefined
    if (!isHandshake) return publishPath.ticket
    this.#session.addIncomingQos2(packetId)
    store.inbox.put(clientId, packetId)
    return store.lastTicket
  }

  released(packetId: number): Ticket {
    const session = this.#session
    if (session.removeIncomingQos2(packetId)) this.#core.store.inbox.release(session.clientId, packetId)
    return this.openTicket
  }

  /** The commit that everything written so far is in; 0 when all of it is durable. */
  get openTicket(): Ticket {
    const { lastTicket, durableTicket } = this.#core.store
    return lastTicket > durableTicket ? lastTicket : 0
  }

  forgetIncoming(): void {
    const packetIds = [...this.#session.incomingQos2]
    if (packetIds.length === 0) return
    for (const packetId of packetIds) this.#session.removeIncomingQos2(packetId)
    this.#core.store.inbox.clear(this.#session.clientId)
  }

  retained(topicFilter: string, found: (message: Publish) => void): void {
    const nowMs = this.#core.clock.nowMs()
    this.#core.retained.match(topicFilter, (message) => {
      if (message.expiresAtMs > nowMs) found(message)
    })
  }

  *retainedHistory(topicFilter: string): Generator<RetainedTopic | undefined> {
    const nowMs = this.#core.clock.nowMs()
    for (const found of this.#core.retained.history(topicFilter)) {
      yield (found?.message?.expiresAtMs ?? Number.POSITIVE_INFINITY) > nowMs ? found : undefined
    }
  }

  canPublish(message: Publish): boolean {
    return this.#core.publishPath.canStore(message)
  }

  get numbering(): Numbering | undefined {
    return this.#session.numbering
  }

  set numbering(numbering: Numbering | undefined) {
    this.#session.numbering = numbering
  }

  get awaitedSeq(): Seq | undefined {
    const { lastSeq } = this.#extent
    return lastSeq > this.#session.cursor(this.#core.delivery.routedSeq) ? lastSeq : undefined
  }

  get backlogCount(): number {
    const { delivery, store } = this.#core
    const ahead = store.log.lastSeq - this.#session.cursor(delivery.routedSeq)
    return Math.min(ahead, this.#extent.messageCount)
  }

  get backlogBytes(): number {
    return this.backlogCount === 0 ? 0 : this.#extent.byteCount
  }

  /** Of its lane, or of the whole log. */
  get #extent(): LaneExtent {
    const { log } = this.#core.store
    const { lane } = this.#session
    return lane === undefined ? log : (log.extents[lane] as LaneExtent)
  }

  oldestAtMs(answer: (atMs: number | undefined) => void): void {
    const { delivery, store } = this.#core
    const { lane } = this.#session
    if (this.backlogCount === 0) {
      answer(undefined)
      return
    }
    const from = this.#session.cursor(delivery.routedSeq) + 1
    store.log.read(from, { countMax: 1, bytesMax: 1, lane }, ([oldest]) => answer(oldest?.atMs))
  }

  get canTake(): boolean {
    return this.#consumer.canTake
  }

  get outlivesUs(): boolean {
    return this.#consumer.outlivesUs ?? false
  }

  sendPublish(
    message: Publish,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    seq: Seq,
    _recipient: Recipient | undefined,
  ): boolean {
    this.#consumer.deliver(message, qos, retain, dup, packetId, seq)
    return true
  }

  sendPubrel(packetId: number): void {
    this.#consumer.release?.(packetId)
  }

  onTakenOver(): void {
    assert(false, `two owners of the session ${this.#session.clientId}`)
  }

  onDurable(ticket: Ticket): void {
    this.#consumer.onDurable(ticket)
  }
}
