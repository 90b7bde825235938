/**
 * What one client is sent: packets become bytes here, gather over a turn of the event loop, and leave in one write.
 * Says when the client is too slow to take more.
 */
import { unmountBridgeTopic } from '../ports/gateway-topics.ts'
import type { GateLink } from '../ports/local.ts'
import type { Seq } from '../ports/store.ts'
import type { Link } from '../ports/transport.ts'
import { crossingProperties } from '../protocol/crossing.ts'
import { encodeAck, encodePacket } from '../protocol/encode.ts'
import { Numbering } from '../protocol/numbering.ts'
import { OutputBuffer } from '../protocol/output.ts'
import type {
  Ack,
  AckType,
  Connack,
  ControlPacket,
  Disconnect,
  PublishProperties,
  Qos,
  Suback,
  Unsuback,
  UserProperties,
  Version,
} from '../protocol/packet.ts'
import { encodePublish, type Publish } from '../protocol/packets/publish.ts'
import { ReasonCode } from '../protocol/reason.ts'
import type { Core } from './core.ts'
import type { Flushable } from './flush-queue.ts'
import { OutboundAliases } from './outbound-aliases.ts'
import type { Recipient } from './router.ts'
import type { Session } from './session.ts'

/** Messages under way whose numbers are told the same when they are sent again. */
const numberedCountMax = 1024

export interface OutboxOwner {
  /** There is room again after `canTake` was false, and the link has nothing to tell about it. */
  onRoom(): void
}

export class Outbox implements Flushable {
  readonly #core: Core
  readonly #link: Link
  readonly #owner: OutboxOwner
  /** For those who write whole packets themselves and then say so with `written`. */
  readonly output = new OutputBuffer()
  #isFlushQueued = false
  #isLinkFull = false
  version: Version = 4
  /** Taken off every topic on its way out. */
  mountpoint = ''
  /** The gateway at the other end, as its topic level; empty for other clients. */
  gateway = ''
  /** Of a gateway. */
  gate: GateLink | undefined
  /** Of a bridge of ours below. */
  #numbering: Numbering | undefined
  /** Largest packet the client takes. */
  packetBytesMax = Number.POSITIVE_INFINITY
  /** The client wants reasons in words, on acknowledgements as well. */
  wantsReasons = false
  #aliases: OutboundAliases | undefined

  constructor(core: Core, link: Link, owner: OutboxOwner) {
    this.#core = core
    this.#link = link
    this.#owner = owner
  }

  get canTake(): boolean {
    return !this.#isLinkFull && this.output.byteCount < this.#core.settings.outputBytesMax
  }

  /** Before `canTake` is false. */
  get byteCountLeft(): number {
    return this.#core.settings.outputBytesMax - this.output.byteCount
  }

  /** The client is sent messages of QoS 0 as every other one of its version. */
  get isPlain(): boolean {
    const isMapped = this.mountpoint !== '' || this.gateway !== ''
    return !isMapped && this.#aliases === undefined && this.#numbering === undefined
  }

  /** Whole packets, which others are sent as well. */
  share(pieces: readonly Buffer[]): void {
    for (let i = 0; i < pieces.length; i++) this.output.share(pieces[i] as Buffer)
    this.written()
  }

  /** There is something to flush. */
  written(): void {
    if (this.#isFlushQueued) return
    this.#isFlushQueued = true
    this.#core.flushQueue.add(this)
  }

  /** @returns false when the client does not take packets of this size; nothing is sent then [MQTT-3.1.2-24] */
  send(packet: ControlPacket): boolean {
    const output = this.output
    const start = output.byteCount
    encodePacket(output, packet, this.version)
    const byteCount = output.byteCount - start
    if (byteCount > this.packetBytesMax) {
      output.takeBack(byteCount)
      return false
    }
    this.written()
    return true
  }

  /**
   * The same with the reason in words, for 5.0 clients that take a packet with it.
   * [MQTT-3.2.2-19] [MQTT-3.14.2-3] [MQTT-3.9.2-1] [MQTT-3.4.2-2] [MQTT-3.5.2-2]
   */
  sendWithReason(packet: Connack | Disconnect | Ack | Suback | Unsuback, reasonString: string): boolean {
    if (this.version === 5) {
      const told = { ...packet, properties: { ...packet.properties, reasonString } } as typeof packet
      if (this.send(told)) return true
    }
    return this.send(packet)
  }

  sendAck(type: AckType, packetId: number, reasonCode: ReasonCode): void {
    if (reasonCode === ReasonCode.success || this.version < 5) {
      encodeAck(this.output, type, packetId)
      this.written()
    } else {
      this.send({ type, packetId, reasonCode, properties: undefined })
    }
  }

  /** From here on messages of the log carry numbers, which go on where those of the session are. */
  numberFor(session: Session, inflightMax: number): void {
    session.numbering ??= new Numbering(this.#core.epoch, 0, 0, Math.min(inflightMax, numberedCountMax))
    this.#numbering = session.numbering
  }

  /** @returns false when the client does not take packets of this size; nothing is sent then */
  numberAndSend(
    message: Publish,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    seq: Seq,
    recipient: Recipient | undefined,
  ): boolean {
    const numbering = this.#numbering
    if (numbering === undefined) return this.sendPublish(message, qos, retain, dup, packetId, recipient, undefined)
    const isFull = message.qos === 2 && qos === 1
    const crossing =
      retain || isFull ? crossingProperties(isFull ? 2 : qos, qos, retain ? message.changedAtMs : undefined) : []
    if (seq === 0) return this.sendPublish(message, qos, retain, dup, packetId, recipient, crossing)
    const extra = [...crossing, ...numbering.number(seq, packetId)]
    if (this.sendPublish(message, qos, retain, dup, packetId, recipient, extra)) return true
    numbering.retract(seq, packetId, 'too_large')
    return false
  }

  /**
   * @param extra behind the user properties of the message
   * @returns false when the client does not take packets of this size; nothing is sent then
   */
  sendPublish(
    message: Publish,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    recipient: Recipient | undefined,
    extra: UserProperties | undefined,
  ): boolean {
    const sent = this.mountpoint === '' && this.gateway === '' ? message : this.#unmounted(message)
    const properties = this.version === 5 ? this.#propertiesFor(message, recipient, extra) : undefined
    if (this.#aliases !== undefined) {
      return this.#sendAliased(this.#aliases, sent, qos, retain, dup, packetId, properties)
    }
    const { version, packetBytesMax } = this
    const isSent = encodePublish(this.output, sent, version, qos, retain, dup, packetId, properties, packetBytesMax)
    if (isSent) this.written()
    return isSent
  }

  /** @param maximum topic aliases that may be set towards the client */
  useAliases(maximum: number): void {
    this.#aliases = maximum === 0 ? undefined : new OutboundAliases(maximum)
  }

  #sendAliased(
    aliases: OutboundAliases,
    message: Publish,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    properties: PublishProperties | undefined,
  ): boolean {
    const topicAlias = aliases.aliasFor(message.topic)
    if (topicAlias === 0) {
      const isSent = encodePublish(this.output, message, 5, qos, retain, dup, packetId, properties, this.packetBytesMax)
      if (isSent) this.written()
      return isSent
    }
    const isKnown = aliases.isKnown(topicAlias)
    const withAlias = { ...properties, topicAlias }
    const isSent = encodePublish(
      this.output,
      message,
      5,
      qos,
      retain,
      dup,
      packetId,
      withAlias,
      this.packetBytesMax,
      isKnown,
    )
    if (!isSent) return false
    if (!isKnown) aliases.learn(message.topic, topicAlias)
    this.written()
    return true
  }

  flush(): void {
    this.#isFlushQueued = false
    const byteCount = this.output.byteCount
    if (byteCount === 0) return
    this.#core.counters.sentBytes += byteCount
    this.#link.send(this.output.take())
    const { outputBytesMax } = this.#core.settings
    const leftBytes = this.#link.bufferedByteCount
    this.#isLinkFull = leftBytes > outputBytesMax
    // Somebody may have been refused, and no drain follows where the system took all of it at once.
    if (byteCount >= outputBytesMax && leftBytes === 0) this.#owner.onRoom()
  }

  onDrain(): void {
    this.#isLinkFull = false
  }

  #unmounted(message: Publish): Publish {
    const aboutBridge = this.gateway === '' ? undefined : unmountBridgeTopic(message.topic, this.gateway)
    if (aboutBridge !== undefined) return message.withTopic(aboutBridge)
    return this.mountpoint === '' ? message : message.withTopic(message.topic.slice(this.mountpoint.length))
  }

  #propertiesFor(
    message: Publish,
    recipient: Recipient | undefined,
    extra: UserProperties | undefined,
  ): PublishProperties | undefined {
    const subscriptionIdentifiers = recipient?.subscriptionIdentifiers
    const expires = message.expiresAtMs !== Number.POSITIVE_INFINITY
    const { responseTopic } = message.properties ?? {}
    const isMoved = responseTopic !== undefined && this.mountpoint !== ''
    const hasExtra = extra !== undefined && extra.length > 0
    if (subscriptionIdentifiers === undefined && !expires && !hasExtra && !isMoved) return message.properties
    return {
      ...message.properties,
      ...(isMoved && { responseTopic: this.#unmountedResponse(responseTopic) }),
      ...(subscriptionIdentifiers && { subscriptionIdentifiers }),
      ...(hasExtra && { userProperties: [...(message.properties?.userProperties ?? []), ...extra] }),
      ...(expires && { messageExpiryInterval: this.#secondsLeft(message) }), // [MQTT-3.3.2-6]
    }
  }

  /** A gateway is given another topic in place of one that it cannot reach. */
  #unmountedResponse(topic: string): string {
    if (topic.startsWith(this.mountpoint)) return topic.slice(this.mountpoint.length)
    return this.gate?.responseTopicFor(topic) ?? topic
  }

  #secondsLeft(message: Publish): number {
    return Math.max(0, Math.ceil((message.expiresAtMs - this.#core.clock.nowMs()) / 1000))
  }
}
