/**
 * What passes between an uplink and the remote broker while there is a link: packets of one version of MQTT, and what of
 * them waits for an answer. uplink.ts opens and closes it, again and again, and says when which of its calls are due.
 */
import type { Failure } from '../lib/errors.ts'
import type { Clock } from '../ports/clock.ts'
import type { Link, LinkOwner } from '../ports/transport.ts'
import { decodePacket } from '../protocol/decode.ts'
import { encodeAck, encodePacket } from '../protocol/encode.ts'
import { PacketFault } from '../protocol/fault.ts'
import { FrameDecoder } from '../protocol/frame.ts'
import { OutputBuffer } from '../protocol/output.ts'
import {
  type AckType,
  type Connack,
  type ControlPacket,
  PacketType,
  type PublishProperties,
  type Qos,
} from '../protocol/packet.ts'
import { decodeShortAckPacketId } from '../protocol/packets/ack.ts'
import { decodePublish, encodePublish, type Publish, TopicMemo } from '../protocol/packets/publish.ts'
import { ReasonCode, reasonName } from '../protocol/reason.ts'
import type { Terms } from './handshake.ts'
import { LinkWatch } from './link-watch.ts'

/** Whom messages are for. */
export interface MessageOwner {
  /** `message` is borrowed until the call returns. QoS >= 1 is answered with `acknowledge`. */
  onMessage(message: Publish): void
  /** A QoS 2 message of `onMessage` will not come again. Answered with `acknowledge`. */
  onPubrel(packetId: number): void
  /** A QoS 2 message arrived, and is to be released. */
  onPubrec(packetId: number): void
  /** A message is done with: PUBACK, PUBCOMP, or a PUBREC that refuses. */
  onPuback(packetId: number, reasonCode: ReasonCode): void
}

/** Whom the rest is for. */
export interface ConnectionOwner {
  onConnack(connack: Connack): void
  /** SUBACK or UNSUBACK. */
  onSubscriptionAnswer(packetId: number, reasonCodes: readonly ReasonCode[]): void
  /** There is room again after `canTake` was false. */
  onDrain(): void
  /** What came is not MQTT of this version. */
  onFault(message: string): void
  /** The remote side says goodbye, or nothing any more. */
  onEnd(why: string): void
  onClosed(failure: Failure | undefined): void
}

export interface ConnectionLimits {
  /** Largest packet to receive. */
  readonly packetBytesMax: number
  /** Bytes on their way beyond which no more is taken. */
  readonly outputBytesMax: number
  /** Longest silence while an answer is due; a quick remote side is given less. */
  readonly ackTimeoutMs: number
}

/** SUBSCRIBE and UNSUBSCRIBE take packet ids from the far end, where messages come last. */
const packetIdMax = 65_535

export class RemoteConnection {
  /** Since the start, over all links. */
  sentBytes = 0
  receivedBytes = 0
  /** Of MQTT, on the present link. */
  version: 4 | 5 = 5
  readonly #limits: ConnectionLimits
  readonly #clock: Clock
  readonly #messages: MessageOwner
  readonly #owner: ConnectionOwner
  readonly #output = new OutputBuffer()
  readonly #watch: LinkWatch
  #link: Link | undefined
  #frames: FrameDecoder
  #topics = new TopicMemo()
  #isFlushQueued = false
  #isLinkFull = false
  #terms: Terms = { packetBytesMax: 0, qosMax: 2, isRetainTaken: true, keepAliveMs: 0 }

  constructor(limits: ConnectionLimits, clock: Clock, messages: MessageOwner, owner: ConnectionOwner) {
    this.#limits = limits
    this.#clock = clock
    this.#messages = messages
    this.#owner = owner
    this.#frames = new FrameDecoder(limits.packetBytesMax)
    this.#watch = new LinkWatch(clock, limits.ackTimeoutMs, {
      ping: () => this.send({ type: PacketType.pingreq }),
      onDead: (silentMs) => owner.onEnd(`no answer for ${Math.round(silentMs)} ms`),
    })
  }

  get roundTripMs(): number {
    return this.#watch.roundTripMs
  }

  /** CONNECT is to be sent next. */
  open(link: Link, version: 4 | 5): LinkOwner {
    this.#link = link
    this.version = version
    this.#frames = new FrameDecoder(this.#limits.packetBytesMax)
    this.#topics = new TopicMemo()
    this.#output.take()
    this.#isLinkFull = false
    this.#watch.connecting()
    // What comes late from a link that was given up is nobody's.
    return {
      receive: (chunk) => {
        if (this.#link === link) this.#receive(chunk)
      },
      onDrain: () => {
        if (this.#link === link) this.#onDrain()
      },
      onClosed: (failure) => {
        if (this.#link === link) this.#owner.onClosed(failure)
      },
    }
  }

  /** CONNACK lets us in. */
  accepted(terms: Terms): void {
    this.#terms = terms
    this.#watch.connected(terms.keepAliveMs)
  }

  /** The link is given up; whoever gives it up ends it. */
  close(): void {
    this.#link = undefined
    this.#watch.stop()
    this.#output.take()
  }

  // ---- out ----

  get canTake(): boolean {
    return !this.#isLinkFull && this.#output.byteCount < this.#limits.outputBytesMax
  }

  /** @returns false when the remote broker does not take packets of this size */
  publish(
    message: Publish,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    properties: PublishProperties | undefined,
  ): boolean {
    const sentQos = Math.min(qos, this.#terms.qosMax) as Qos // [MQTT-3.2.2-11]
    const isSent = encodePublish(
      this.#output,
      message,
      this.version,
      sentQos,
      retain && this.#terms.isRetainTaken, // [MQTT-3.2.2-14]
      dup && sentQos > 0,
      sentQos > 0 ? packetId : 0,
      properties,
      this.#terms.packetBytesMax,
    )
    if (!isSent) return false
    this.#queueFlush()
    if (sentQos > 0) this.#watch.asked(packetId, !dup)
    else if (packetId !== 0) this.#messages.onPuback(packetId, ReasonCode.success)
    return true
  }

  /** PUBREL for a message of `onPubrec`. */
  release(packetId: number): void {
    encodeAck(this.#output, PacketType.pubrel, packetId)
    this.#watch.asked(packetId, false)
    this.#queueFlush()
  }

  /** PUBACK or PUBREC for a message of `onMessage`, PUBCOMP for an `onPubrel`. */
  acknowledge(packetId: number, type: AckType): void {
    encodeAck(this.#output, type, packetId)
    this.#queueFlush()
  }

  /** A packet id for SUBSCRIBE or UNSUBSCRIBE; an answer to it is due from now on. */
  takePacketId(): number {
    let packetId = packetIdMax
    while (this.#watch.isUnanswered(packetId)) packetId--
    this.#watch.asked(packetId, true)
    return packetId
  }

  /** @returns false when nothing was asked under this packet id on this link */
  answered(packetId: number): boolean {
    return this.#watch.answered(packetId)
  }

  send(packet: ControlPacket): void {
    encodePacket(this.#output, packet, this.version)
    this.#queueFlush()
  }

  #queueFlush(): void {
    if (this.#isFlushQueued) return
    this.#isFlushQueued = true
    this.#clock.afterTurn(() => {
      if (this.flush()) this.#owner.onDrain()
    })
  }

  /**
   * Everything sent so far leaves now instead of at the end of the turn.
   * @returns true when `canTake` was false, and is no longer without the link having anything to tell about it
   */
  flush(): boolean {
    this.#isFlushQueued = false
    const link = this.#link
    const { byteCount } = this.#output
    if (link === undefined || byteCount === 0) return false
    const { outputBytesMax } = this.#limits
    this.#watch.wrote()
    this.sentBytes += byteCount
    link.send(this.#output.take())
    const leftBytes = link.bufferedByteCount
    this.#isLinkFull = leftBytes > outputBytesMax
    return byteCount >= outputBytesMax && leftBytes === 0
  }

  #onDrain(): void {
    this.#isLinkFull = false
    this.#owner.onDrain()
  }

  // ---- in ----

  #receive(chunk: Buffer): void {
    this.#watch.heard()
    this.receivedBytes += chunk.length
    const frames = this.#frames
    frames.push(chunk)
    try {
      // Once the link is given up, its frames are replaced or nobody's.
      while (frames === this.#frames && this.#link !== undefined && frames.next()) {
        if (frames.header >> 4 === PacketType.publish) {
          const { bytes, start, end, header } = frames
          this.#messages.onMessage(decodePublish(bytes, start, end, header & 15, this.version, this.#topics))
          continue
        }
        const ackedPacketId = decodeShortAckPacketId(frames.header, frames.bytes, frames.start, frames.end)
        if (ackedPacketId !== 0 && frames.header >> 4 === PacketType.puback) {
          this.#onPuback(ackedPacketId, ReasonCode.success)
          continue
        }
        const packet = decodePacket(frames.header, frames.bytes, frames.start, frames.end, this.version)
        if (packet instanceof PacketFault) throw packet
        this.#receivePacket(packet)
      }
    } catch (error) {
      if (!(error instanceof PacketFault)) throw error
      this.#owner.onFault(error.message)
    }
  }

  #receivePacket(packet: ControlPacket): void {
    switch (packet.type) {
      case PacketType.connack:
        this.#owner.onConnack(packet)
        return
      case PacketType.suback:
      case PacketType.unsuback:
        this.#owner.onSubscriptionAnswer(packet.packetId, packet.reasonCodes)
        return
      case PacketType.puback:
      case PacketType.pubcomp:
        this.#onPuback(packet.packetId, packet.reasonCode)
        return
      case PacketType.pubrec:
        if (!this.#watch.answered(packet.packetId)) return
        if (packet.reasonCode < 0x80) this.#messages.onPubrec(packet.packetId)
        else this.#messages.onPuback(packet.packetId, packet.reasonCode)
        return
      case PacketType.pubrel:
        this.#messages.onPubrel(packet.packetId)
        return
      case PacketType.pingresp:
        this.#watch.pinged()
        return
      case PacketType.disconnect:
        this.#owner.onEnd(`remote broker disconnects: ${reasonName(packet.reasonCode)}`)
        return
      default:
        throw new PacketFault(ReasonCode.protocolError, '', `unexpected packet of type ${packet.type}`)
    }
  }

  /** PUBACK or PUBCOMP. */
  #onPuback(packetId: number, reasonCode: ReasonCode): void {
    if (this.#watch.answered(packetId)) this.#messages.onPuback(packetId, reasonCode)
  }
}
