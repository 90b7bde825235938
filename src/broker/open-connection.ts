/**
 * A client that was let in (MQTT 5.0 §4.13): what it may send now, and what its session sends it. It ends as its
 * connection does; what else may happen to a connection, and when it is over, is in connection.ts.
 */
import { unreachable } from '../lib/assert.ts'
import type { Principal } from '../ports/auth.ts'
import type { Seq } from '../ports/store.ts'
import { decodePacket } from '../protocol/decode.ts'
import { PacketFault } from '../protocol/fault.ts'
import {
  type AckType,
  type Auth,
  type ControlPacket,
  type Disconnect,
  PacketType,
  type Qos,
  type Suback,
  type Subscribe,
  type Unsuback,
  type Unsubscribe,
} from '../protocol/packet.ts'
import { decodeShortAckPacketId } from '../protocol/packets/ack.ts'
import { decodePublish, type Publish, TopicMemo } from '../protocol/packets/publish.ts'
import { mayClientSend, ReasonCode } from '../protocol/reason.ts'
import { AckQueue } from './ack-queue.ts'
import type { Admitted } from './admission.ts'
import { ClientAcks } from './client-acks.ts'
import type { Core } from './core.ts'
import type { ExtendedAuthentication } from './extended-authentication.ts'
import { IncomingPublishes } from './incoming-publishes.ts'
import type { Intake } from './intake.ts'
import type { Mount } from './mount.ts'
import { boundedExpirySeconds } from './negotiate.ts'
import type { Outbox } from './outbox.ts'
import { PeerView } from './peer-view.ts'
import type { Recipient } from './router.ts'
import type { Attachment, Session } from './session.ts'
import { checkAnswerFits, complete, stay, subscribe, takeBack, unsubscribe } from './subscribe.ts'

/** From this fixed header on packets are answered, or are wrong; below are PUBLISH of QoS 0 and what a server sends. */
const publishQos1 = 0x32
const plainPublish = 0x30

/** The connection below: how it ends. */
export interface Line {
  /** From our side. */
  close(reasonCode: ReasonCode, why: string): void
  /** From the client's side, with DISCONNECT. */
  closeByClient(reasonCode: ReasonCode): void
  sendAuth(auth: Auth): void
}

export class OpenConnection implements Attachment {
  readonly at = 'open'
  readonly session: Session
  readonly principal: Principal
  readonly inflightMax: number
  readonly outlivesUs = true
  readonly outbox: Outbox
  readonly #core: Core
  readonly #line: Line
  readonly #topics = new TopicMemo()
  readonly #incoming: IncomingPublishes
  readonly #acks: AckQueue
  readonly #clientAcks: ClientAcks
  readonly #mayStayUnread: boolean
  readonly #mount: Mount
  /** A bridge of mosquitto. */
  readonly #isBridge: boolean
  /** undefined when CONNECT named no method. */
  readonly #extended: ExtendedAuthentication | undefined

  /** @param identity proved to the listener */
  constructor(
    core: Core,
    line: Line,
    outbox: Outbox,
    intake: Intake,
    admitted: Admitted,
    session: Session,
    identity: string | undefined,
  ) {
    const { connect, agreement, mount, principal, extended } = admitted
    this.#core = core
    this.#line = line
    this.session = session
    this.principal = principal
    this.inflightMax = agreement.inflightMax
    this.outbox = outbox
    this.#acks = new AckQueue(core, intake, outbox)
    this.#incoming = new IncomingPublishes(core, this.#acks)
    this.#clientAcks = new ClientAcks(core, outbox, this.#incoming)
    this.#mount = mount
    this.#isBridge = connect.isBridge
    this.#extended = extended
    outbox.mountpoint = mount.prefix
    outbox.gateway = mount.gateway
    this.#incoming.mountpoint = mount.prefix
    this.#incoming.gateway = mount.gateway
    outbox.useAliases(agreement.topicAliasMaximum)
    if (connect.isBridge) core.relays.add(agreement.clientId)
    if (mount.gateway !== '') {
      const peer = new PeerView(core, principal, mount, outbox)
      this.#incoming.gate = core.gate?.open(identity, agreement.clientId, peer)
      outbox.gate = this.#incoming.gate
    }
    this.#mayStayUnread = this.#incoming.isPlain
  }

  // ---- packets in ----

  /** @throws PacketFault */
  receive(header: number, bytes: Buffer, start: number, end: number): void {
    const { version } = this.outbox
    // Only QoS 0 travels together: whatever has an answer comes behind what was published before it.
    if (header >= publishQos1) this.#core.publishPath.settle()
    else if (header === plainPublish && this.#mayStayUnread && this.#core.publishPath.publishUnread(bytes, start, end))
      return
    if (header >> 4 === PacketType.publish) {
      const publish = decodePublish(bytes, start, end, header & 15, version, this.#topics)
      this.#incoming.receive(publish, this.session, this.principal)
      return
    }
    const packetId = decodeShortAckPacketId(header, bytes, start, end)
    if (packetId !== 0) {
      this.#clientAcks.receive((header >> 4) as AckType, packetId, ReasonCode.success, this.session)
      return
    }
    const packet = decodePacket(header, bytes, start, end, version)
    if (packet instanceof PacketFault) throw packet
    this.#receivePacket(packet)
  }

  #receivePacket(packet: ControlPacket): void {
    switch (packet.type) {
      case PacketType.puback:
      case PacketType.pubrec:
      case PacketType.pubrel:
      case PacketType.pubcomp:
        this.#clientAcks.receive(packet.type, packet.packetId, packet.reasonCode, this.session)
        return
      case PacketType.pingreq:
        this.outbox.send({ type: PacketType.pingresp }) // [MQTT-3.12.4-1]
        return
      case PacketType.subscribe:
        this.#subscribe(packet)
        return
      case PacketType.unsubscribe:
        this.#unsubscribe(packet)
        return
      case PacketType.disconnect:
        this.#receiveDisconnect(packet)
        return
      case PacketType.connect:
        throw new PacketFault(ReasonCode.protocolError, 'MQTT-3.1.0-2', 'second CONNECT') // [MQTT-3.1.0-2]
      case PacketType.auth:
        this.#reAuthenticate(packet)
        return
      case PacketType.connack:
      case PacketType.suback:
      case PacketType.unsuback:
      case PacketType.pingresp:
        throw new PacketFault(ReasonCode.protocolError, '', 'packet that only a server sends')
      default:
        unreachable(packet)
    }
  }

  #subscribe(packet: Subscribe): void {
    const core = this.#core
    checkAnswerFits(packet.subscriptions.length, this.outbox)
    const { session } = this
    const subscribed = subscribe(core, session, this.principal, packet, this.#mount, this.#isBridge)
    const { reasonCodes, feeds } = subscribed
    const suback: Suback = { type: PacketType.suback, packetId: packet.packetId, reasonCodes, properties: undefined }
    // [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-6]
    this.#acks.answer(this.#acks.subscribedTicketOf(session), suback, {
      onSent: () => {
        for (const feed of feeds) core.retainedFeeds.begin(feed)
      },
      takeBack: () => takeBack(core, session, subscribed),
    })
  }

  #unsubscribe({ packetId, topicFilters }: Unsubscribe): void {
    checkAnswerFits(topicFilters.length, this.outbox)
    const { session } = this
    const core = this.#core
    const unsubscribed = unsubscribe(core, session, topicFilters, this.#mount)
    const { reasonCodes } = unsubscribed
    const unsuback: Unsuback = { type: PacketType.unsuback, packetId, reasonCodes, properties: undefined }
    // [MQTT-3.10.4-4] [MQTT-3.10.4-5]
    this.#acks.answer(session.subscribedTicket, unsuback, {
      onSent: () => complete(core, session, unsubscribed),
      takeBack: () => stay(core, session, unsubscribed),
      onGone: () => complete(core, session, unsubscribed),
      onUnanswerable: () => this.#line.close(ReasonCode.unspecifiedError, 'UNSUBSCRIBE was not stored in time'),
    })
  }

  /** AUTH while the connection is open: everything else goes on meanwhile. */
  #reAuthenticate(packet: Auth): void {
    const extended = this.#extended
    if (extended === undefined) {
      throw new PacketFault(ReasonCode.protocolError, 'MQTT-4.12.0-7', 'AUTH without authentication method') // [MQTT-4.12.0-7]
    }
    extended.receive(packet, (outcome) => {
      if (this.session.attachment !== this) return // Gone meanwhile.
      if (outcome.kind === 'challenge') {
        this.#line.sendAuth(extended.packet(ReasonCode.continueAuthentication, outcome.data))
      } else if (outcome.kind === 'refused') {
        this.#line.close(outcome.reasonCode, outcome.why) // [MQTT-4.12.1-2]
      } else if (outcome.username === this.principal.username) {
        this.#line.sendAuth(extended.packet(ReasonCode.success, outcome.data))
      } else {
        this.#line.close(ReasonCode.notAuthorized, 'authenticated again as somebody else')
      }
    })
  }

  #receiveDisconnect({ reasonCode, properties }: Disconnect): void {
    const { session } = this
    if (!mayClientSend(reasonCode)) {
      throw new PacketFault(ReasonCode.protocolError, 'MQTT-3.14.2-1', 'DISCONNECT with a reason of servers')
    }
    const expiry = properties?.sessionExpiryInterval
    if (expiry !== undefined) {
      if (session.expiryIntervalSeconds === 0 && expiry > 0) {
        throw new PacketFault(
          ReasonCode.protocolError,
          '',
          'DISCONNECT gives a Session Expiry Interval to a session without one',
        )
      }
      session.expiryIntervalSeconds = boundedExpirySeconds(expiry, this.#core.settings)
    }
    this.#line.closeByClient(reasonCode)
  }

  // ---- Attachment: messages out ----

  get canTake(): boolean {
    return this.outbox.canTake
  }

  sendPublish(
    message: Publish,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    seq: Seq,
    recipient: Recipient | undefined,
  ): boolean {
    return this.outbox.numberAndSend(message, qos, retain, dup, packetId, seq, recipient)
  }

  sendPubrel(packetId: number): void {
    this.outbox.sendAck(PacketType.pubrel, packetId, ReasonCode.success)
  }

  onTakenOver(): void {
    this.#line.close(ReasonCode.sessionTakenOver, 'the client connected again') // [MQTT-3.1.4-3]
  }

  /** Once, when the connection is no longer open. @param reason for those who watch who comes and goes */
  leave(withWill: boolean, reason: string): void {
    const { relays, sessions, sysTopics } = this.#core
    const { clientId } = this.session
    this.#acks.close()
    this.#incoming.gate?.close()
    if (this.#isBridge) relays.delete(clientId)
    sessions.release(this.session, withWill)
    sysTopics?.disconnected(clientId, this.principal.username, reason)
  }
}
