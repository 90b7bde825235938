/**
 * The state machine of one network connection (MQTT 5.0 §3.1.4, §4.13). It decides what is legal now, and every close
 * has its reason here.
 *
 *   awaiting-connect --CONNECT--> admitting --granted--> open --+--> closing --link closed--> closed
 *          |                          |                        |        ^
 *          +---- first packet wrong, -+---- refused -----------+--------+
 *                connect timeout
 *
 * admitting: admission.ts asks who the client is and whose its session is. The answers may come later; the link is
 * paused and nothing of the client is read until then.
 * closing: the last bytes are on their way; whatever still comes in is ignored.
 */
import { unreachable } from '../lib/assert.ts'
import type { Failure } from '../lib/errors.ts'
import { WheelTimer } from '../lib/timer-wheel.ts'
import type { Principal } from '../ports/auth.ts'
import type { Seq } from '../ports/store.ts'
import type { Link, LinkOwner, ListenerTraits } from '../ports/transport.ts'
import { decodePacket } from '../protocol/decode.ts'
import { PacketFault } from '../protocol/fault.ts'
import { FrameDecoder } from '../protocol/frame.ts'
import {
  type AckType,
  type Auth,
  type Connack,
  type Connect,
  type ControlPacket,
  type Disconnect,
  PacketType,
  type Qos,
  type Suback,
  type Unsuback,
  type Version,
} from '../protocol/packet.ts'
import { decodeShortAckPacketId } from '../protocol/packets/ack.ts'
import { peekVersion } from '../protocol/packets/connect.ts'
import { decodePublish, type Publish, TopicMemo } from '../protocol/packets/publish.ts'
import { mayClientSend, ReasonCode, reasonName } from '../protocol/reason.ts'
import { AckQueue } from './ack-queue.ts'
import { Admission, type AdmissionStep, type Admitted } from './admission.ts'
import { ClientAcks } from './client-acks.ts'
import type { Core } from './core.ts'
import type { ExtendedAuthentication } from './extended-authentication.ts'
import { IncomingPublishes } from './incoming-publishes.ts'
import { Intake } from './intake.ts'
import { greeted, isPeer, type Mount } from './mount.ts'
import { type Agreement, boundedExpirySeconds } from './negotiate.ts'
import { Outbox } from './outbox.ts'
import { Pace } from './pace.ts'
import { PeerView } from './peer-view.ts'
import { goodbye } from './redirect.ts'
import type { Recipient } from './router.ts'
import type { Attachment, Session } from './session.ts'
import { checkAnswerFits, subscribe, unsubscribe } from './subscribe.ts'

export type ConnectionState =
  | { readonly at: 'awaiting-connect' }
  | { readonly at: 'admitting'; readonly admission: Admission }
  | { readonly at: 'open'; readonly session: Session; readonly principal: Principal }
  | { readonly at: 'closing' }
  | { readonly at: 'closed' }

/** Where a connection is, and inside its admission where that is. */
export type ConnectionStage = Exclude<ConnectionState['at'], 'admitting'> | Admission['at']

export class Connection implements LinkOwner, Attachment {
  readonly #core: Core
  readonly #link: Link
  readonly #traits: ListenerTraits
  readonly #frames: FrameDecoder
  readonly #topics = new TopicMemo()
  readonly #outbox: Outbox
  readonly #incoming: IncomingPublishes
  readonly #intake: Intake
  readonly #acks: AckQueue
  readonly #clientAcks: ClientAcks
  /** undefined when CONNECT named no method. */
  #extended: ExtendedAuthentication | undefined
  /** undefined = the client may send as fast as it likes. */
  readonly #pace: Pace | undefined
  readonly #timer: WheelTimer
  #state: ConnectionState = { at: 'awaiting-connect' }
  #version: Version = 4
  #clientId = ''
  #mount: Mount = { prefix: '', gateway: '' }
  #isBridge = false
  /** An answer that comes inside a call of ours. */
  #isAdvancing = false
  #keepAliveMs = 0
  #lastReceivedMs: number
  readonly outlivesUs = true
  inflightMax: number

  constructor(core: Core, link: Link, traits: ListenerTraits) {
    this.#core = core
    this.#link = link
    this.#traits = traits
    this.#frames = new FrameDecoder(core.settings.packetBytesMax)
    this.#outbox = new Outbox(core, link)
    this.#intake = new Intake(link)
    this.#acks = new AckQueue(core, this.#intake, this.#outbox)
    if (traits.rates !== undefined) this.#pace = new Pace(core.clock, core.wheel, this.#intake, traits.rates)
    this.#incoming = new IncomingPublishes(core, this.#acks)
    this.#clientAcks = new ClientAcks(core, this.#outbox, this.#incoming)
    this.inflightMax = core.settings.inflightMax
    this.#lastReceivedMs = core.clock.nowMs()
    this.#timer = new WheelTimer(() => this.#onTimer())
    core.wheel.schedule(this.#timer, this.#lastReceivedMs + core.settings.connectTimeoutMs)
    core.connections.add(this)
    core.counters.connectionCount = core.connections.size
  }

  get state(): ConnectionStage {
    return this.#state.at === 'admitting' ? this.#state.admission.at : this.#state.at
  }

  // ---- bytes in ----

  receive(chunk: Buffer): void {
    if (this.#state.at === 'closing' || this.#state.at === 'closed') return // On its way when we closed.
    const counters = this.#core.counters
    counters.receivedBytes += chunk.length
    this.#lastReceivedMs = this.#core.clock.nowMs()
    const messageCount = counters.receivedMessages
    this.#frames.push(chunk)
    this.#readFrames()
    if (this.#pace !== undefined && this.#state.at === 'open') {
      this.#pace.took(counters.receivedMessages - messageCount, chunk.length)
    }
  }

  #readFrames(): void {
    const frames = this.#frames
    try {
      while (this.#isReading && frames.next()) {
        this.#receiveFrame(frames.header, frames.bytes, frames.start, frames.end)
      }
      if (this.#isWaiting) frames.keepUnread()
    } catch (error) {
      if (!(error instanceof PacketFault)) throw error
      this.#onFault(error)
    }
  }

  get #isReading(): boolean {
    const { at } = this.#state
    return at === 'open' || at === 'awaiting-connect' || (at === 'admitting' && !this.#isWaiting)
  }

  /** For somebody else than the client. */
  get #isWaiting(): boolean {
    return this.#state.at === 'admitting' && this.#state.admission.at !== 'challenged'
  }

  #receiveFrame(header: number, bytes: Buffer, start: number, end: number): void {
    const state = this.#state
    if (state.at === 'open') {
      if (header >> 4 === PacketType.publish) {
        const publish = decodePublish(bytes, start, end, header & 15, this.#version, this.#topics)
        this.#incoming.receive(publish, state.session, state.principal)
        return
      }
      const packetId = decodeShortAckPacketId(header, bytes, start, end)
      if (packetId !== 0) {
        this.#clientAcks.receive((header >> 4) as AckType, packetId, ReasonCode.success, state.session)
        return
      }
      const packet = decodePacket(header, bytes, start, end, this.#version)
      if (packet instanceof PacketFault) throw packet
      this.#receiveOpen(packet, state.session, state.principal)
      return
    }
    if (state.at === 'admitting') {
      // Before it is decoded: the faults of other packets have reasons that no CONNACK has [MQTT-3.2.2-8].
      const type = header >> 4
      if (type !== PacketType.auth && type !== PacketType.disconnect) throw outOfTurn() // [MQTT-3.1.2-30]
      this.#receiveChallenged(decodePacket(header, bytes, start, end, 5), state.admission)
      return
    }
    if (header >> 4 !== PacketType.connect) {
      throw new PacketFault(ReasonCode.protocolError, 'MQTT-3.1.0-1', 'first packet is not CONNECT') // [MQTT-3.1.0-1]
    }
    const packet = decodePacket(header, bytes, start, end, undefined)
    if (packet instanceof PacketFault) {
      this.#setVersion(peekVersion(bytes, start, end) ?? 4)
      throw packet
    }
    this.#receiveConnect(packet as Connect)
  }

  // ---- CONNECT ----

  #receiveConnect(connect: Connect): void {
    this.#setVersion(connect.version)
    this.#clientId = connect.clientId
    this.#isBridge = connect.isBridge
    this.#outbox.packetBytesMax = connect.properties?.maximumPacketSize ?? Number.POSITIVE_INFINITY
    this.#outbox.wantsReasons = connect.version === 5 && connect.properties?.requestProblemInformation !== 0
    const admission = new Admission(this.#core, this.#link, this.#traits, connect, (step) => this.#onAdmission(step))
    this.#state = { at: 'admitting', admission }
    this.#advance(() => admission.begin())
  }

  /** Between question and answer a client may send AUTH and DISCONNECT alone. */
  #receiveChallenged(packet: ControlPacket | PacketFault, admission: Admission): void {
    if (packet instanceof PacketFault) throw packet
    if (packet.type === PacketType.disconnect) this.#endLink()
    else if (packet.type === PacketType.auth) this.#advance(() => admission.receive(packet))
  }

  /** Nothing more is read while an answer is waited for. */
  #advance(admit: () => void): void {
    this.#isAdvancing = true
    try {
      admit()
    } finally {
      this.#isAdvancing = false
    }
    if (this.#isWaiting) this.#link.pause()
  }

  #onAdmission(step: AdmissionStep): void {
    if (this.#state.at !== 'admitting') {
      // The client left, or took too long, meanwhile.
      if (step.kind === 'granted') this.#core.sessions.decline(step.admitted.request.clientId, step.admitted.epoch)
      return
    }
    switch (step.kind) {
      case 'challenge':
        this.#sendAuth(step.auth)
        break
      case 'refused':
        this.#refuse(step.reasonCode, step.why, step.serverReference)
        break
      case 'granted':
        this.#open(step.admitted)
        break
      default:
        unreachable(step)
    }
    if (this.#isAdvancing) return
    this.#link.resume()
    this.#readFrames()
  }

  #setVersion(version: Version): void {
    this.#version = version
    this.#outbox.version = version
  }

  /** AUTH while the connection is open: everything else goes on meanwhile. */
  #reAuthenticate(packet: Auth, principal: Principal): void {
    const extended = this.#extended
    if (extended === undefined) {
      throw new PacketFault(ReasonCode.protocolError, 'MQTT-4.12.0-7', 'AUTH without authentication method') // [MQTT-4.12.0-7]
    }
    extended.receive(packet, (outcome) => {
      if (this.#state.at !== 'open') return
      if (outcome.kind === 'challenge') {
        this.#sendAuth(extended.packet(ReasonCode.continueAuthentication, outcome.data))
      } else if (outcome.kind === 'refused') {
        this.close(outcome.reasonCode, outcome.why) // [MQTT-4.12.1-2]
      } else if (outcome.username === principal.username) {
        this.#sendAuth(extended.packet(ReasonCode.success, outcome.data))
      } else {
        this.close(ReasonCode.notAuthorized, 'authenticated again as somebody else')
      }
    })
  }

  #sendAuth(auth: Auth): void {
    if (!this.#outbox.send(auth)) this.close(ReasonCode.packetTooLarge, 'AUTH beyond the Maximum Packet Size')
  }

  #open({ connect, agreement, mount, principal, extended, authenticationData, request, epoch }: Admitted): void {
    const core = this.#core
    const opened = core.sessions.open(request, epoch)
    if (opened === undefined) {
      this.#refuse(ReasonCode.serverUnavailable, 'the client connected again meanwhile')
      return
    }
    const { session, isPresent } = opened
    this.#adopt(agreement, mount, principal)
    this.#extended = extended
    this.#state = { at: 'open', session, principal }
    if (isPeer(connect, mount)) this.#outbox.numberFor(session, agreement.inflightMax)
    core.counters.connectAccepted++
    if (connect.isBridge) core.relays.add(agreement.clientId)
    // CONNACK is the first packet [MQTT-3.2.0-1], so it goes out before anything that waited for the session.
    const isAnswered = this.#outbox.send({
      type: PacketType.connack,
      sessionPresent: isPresent, // [MQTT-3.2.2-2] [MQTT-3.2.2-3]
      reasonCode: ReasonCode.success,
      properties: {
        ...greeted(connect, mount, agreement.connackProperties, core.clock.nowMs()),
        ...extended?.properties(authenticationData),
      },
    })
    const facts = { clientId: this.#clientId, remote: this.#link.remote, version: this.#version }
    if (!isAnswered) {
      core.log.info(facts, 'client takes no packet as large as CONNACK')
      this.#leave(session, true, reasonName(ReasonCode.packetTooLarge))
      this.#endLink()
      return
    }
    this.#scheduleKeepAlive()
    if (core.log.isLevelEnabled('debug')) core.log.debug(facts, 'client connected')
    core.sysTopics?.connected(principal, connect, agreement, this.#link)
    core.delivery.attached(session, this)
  }

  #adopt(agreement: Agreement, mount: Mount, principal: Principal): void {
    const { prefix, gateway } = mount
    this.#clientId = agreement.clientId
    this.#keepAliveMs = agreement.keepAliveMs
    this.inflightMax = agreement.inflightMax
    this.#mount = mount
    this.#outbox.mountpoint = prefix
    this.#outbox.gateway = gateway
    this.#incoming.mountpoint = prefix
    this.#incoming.gateway = gateway
    this.#outbox.useAliases(agreement.topicAliasMaximum)
    if (gateway === '') return
    const peer = new PeerView(this.#core, principal, this.#mount, this.#outbox)
    this.#incoming.gate = this.#core.gate?.open(this.#link.identity, agreement.clientId, peer)
    this.#outbox.gate = this.#incoming.gate
  }

  /** Answers CONNECT with a refusal and closes [MQTT-3.1.4-2] [MQTT-3.2.2-7]. @param why empty = the code says it all */
  #refuse(reasonCode: ReasonCode, why = '', serverReference?: string): void {
    this.#core.counters.connectRefused++
    const facts = { clientId: this.#clientId, remote: this.#link.remote, reasonCode: reasonName(reasonCode), why }
    this.#core.log.info(facts, 'client refused')
    const properties = serverReference === undefined ? undefined : { serverReference }
    const connack: Connack = { type: PacketType.connack, sessionPresent: false, reasonCode, properties } // [MQTT-3.2.2-6]
    if (why === '') this.#outbox.send(connack)
    else this.#outbox.sendWithReason(connack, why)
    this.#endLink()
  }

  // ---- packets of an open connection ----

  #receiveOpen(packet: ControlPacket, session: Session, principal: Principal): void {
    switch (packet.type) {
      case PacketType.puback:
      case PacketType.pubrec:
      case PacketType.pubrel:
      case PacketType.pubcomp:
        this.#clientAcks.receive(packet.type, packet.packetId, packet.reasonCode, session)
        return
      case PacketType.pingreq:
        this.#outbox.send({ type: PacketType.pingresp }) // [MQTT-3.12.4-1]
        return
      case PacketType.subscribe: {
        checkAnswerFits(packet.subscriptions.length, this.#outbox)
        const { reasonCodes, feeds } = subscribe(this.#core, session, principal, packet, this.#mount, this.#isBridge)
        const suback: Suback = {
          type: PacketType.suback,
          packetId: packet.packetId,
          reasonCodes,
          properties: undefined,
        }
        this.#acks.answer(this.#acks.subscribedTicketOf(session), suback, () => {
          for (const feed of feeds) this.#core.retainedFeeds.begin(feed)
        }) // [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-6]
        return
      }
      case PacketType.unsubscribe: {
        checkAnswerFits(packet.topicFilters.length, this.#outbox)
        const reasonCodes = unsubscribe(this.#core, session, packet.topicFilters, this.#mount)
        const unsuback: Unsuback = {
          type: PacketType.unsuback,
          packetId: packet.packetId,
          reasonCodes,
          properties: undefined,
        }
        this.#acks.answer(this.#acks.ticketOf(session), unsuback) // [MQTT-3.10.4-4] [MQTT-3.10.4-5]
        return
      }
      case PacketType.disconnect:
        this.#receiveDisconnect(packet, session)
        return
      case PacketType.connect:
        throw new PacketFault(ReasonCode.protocolError, 'MQTT-3.1.0-2', 'second CONNECT') // [MQTT-3.1.0-2]
      case PacketType.auth:
        this.#reAuthenticate(packet, principal)
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

  #receiveDisconnect(packet: Disconnect, session: Session): void {
    if (!mayClientSend(packet.reasonCode)) {
      throw new PacketFault(ReasonCode.protocolError, 'MQTT-3.14.2-1', 'DISCONNECT with a reason of servers')
    }
    const expiry = packet.properties?.sessionExpiryInterval
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
    const isNormal = packet.reasonCode === ReasonCode.success
    this.#leave(session, !isNormal, isNormal ? 'normal' : reasonName(packet.reasonCode)) // [MQTT-3.14.4-3]
    this.#core.log.debug({ clientId: this.#clientId, reasonCode: reasonName(packet.reasonCode) }, 'client disconnected')
    this.#endLink()
  }

  // ---- Attachment: messages out ----

  get canTake(): boolean {
    return this.#outbox.canTake
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
    return this.#outbox.numberAndSend(message, qos, retain, dup, packetId, seq, recipient)
  }

  sendPubrel(packetId: number): void {
    this.#outbox.sendAck(PacketType.pubrel, packetId, ReasonCode.success)
  }

  onTakenOver(): void {
    this.close(ReasonCode.sessionTakenOver, 'the client connected again') // [MQTT-3.1.4-3]
  }

  onDrain(): void {
    this.#outbox.onDrain()
    if (this.#state.at === 'open') this.#core.delivery.advance(this.#state.session)
  }

  // ---- the end ----

  #onFault(fault: PacketFault): void {
    this.#core.counters.faults++
    const reason = { reasonCode: reasonName(fault.reasonCode), clause: fault.clause, err: fault.message }
    this.#core.log.info({ clientId: this.#clientId, remote: this.#link.remote, ...reason }, 'protocol fault')
    if (this.#state.at === 'open') {
      this.close(fault.reasonCode, fault.message) // [MQTT-4.13.1-1]
    } else if (this.#isAnswered(fault)) {
      this.#refuse(fault.reasonCode, fault.message) // [MQTT-3.1.2-2]
    } else {
      this.#abandon() // [MQTT-3.1.4-1]
    }
  }

  /** Before 5.0 only two faults of CONNECT have an answer; in 5.0 each has. */
  #isAnswered({ reasonCode, clause }: PacketFault): boolean {
    if (clause === 'MQTT-3.1.0-1') return false // Whoever does not begin with CONNECT may not speak MQTT at all.
    if (reasonCode === ReasonCode.unsupportedProtocolVersion) return true
    return reasonCode === ReasonCode.clientIdentifierNotValid || this.#version === 5
  }

  /** Ends the connection from our side; 5.0 clients are told why. Without effect once it is closing. */
  close(reasonCode: ReasonCode, why: string): void {
    const state = this.#state
    if (state.at === 'closing' || state.at === 'closed') return
    this.#core.log.debug({ clientId: this.#clientId, reasonCode: reasonName(reasonCode), why }, 'connection closed')
    if (state.at === 'open') {
      this.#leave(state.session, true, reasonName(reasonCode))
      if (this.#version === 5) this.#outbox.sendWithReason(goodbye(reasonCode, this.#core.settings.redirect), why) // [MQTT-3.14.0-1]
    }
    this.#endLink() // [MQTT-3.14.4-2]
  }

  onClosed(failure: Failure | undefined): void {
    const state = this.#state
    if (state.at === 'open') {
      this.#leave(state.session, true, 'connectionLost')
      this.#core.log.debug({ clientId: this.#clientId, err: failure?.message }, 'connection lost')
    }
    this.#state = { at: 'closed' }
    this.#core.wheel.cancel(this.#timer)
    this.#core.connections.delete(this)
    if (this.#isBridge) this.#core.relays.delete(this.#clientId)
    this.#acks.close()
    this.#incoming.gate?.close()
    this.#pace?.close()
    this.#core.counters.connectionCount = this.#core.connections.size
  }

  #leave(session: Session, withWill: boolean, reason: string): void {
    const username = this.#state.at === 'open' ? this.#state.principal.username : undefined
    this.#state = { at: 'closing' }
    this.#acks.close()
    this.#core.sessions.release(session, withWill)
    this.#core.sysTopics?.disconnected(session.clientId, username, reason)
  }

  /** Sends what is written and closes the link behind it. */
  #endLink(): void {
    this.#outbox.flush()
    this.#state = { at: 'closing' }
    this.#core.wheel.cancel(this.#timer)
    this.#link.end()
  }

  #abandon(): void {
    this.#state = { at: 'closing' }
    this.#core.wheel.cancel(this.#timer)
    this.#link.destroy()
  }

  // ---- time ----

  #scheduleKeepAlive(): void {
    if (this.#keepAliveMs === 0) this.#core.wheel.cancel(this.#timer)
    else this.#core.wheel.schedule(this.#timer, this.#lastReceivedMs + this.#keepAliveMs * 1.5)
  }

  #onTimer(): void {
    if (this.#state.at !== 'open') {
      this.#core.log.info({ remote: this.#link.remote }, 'no CONNECT in time')
      this.#abandon()
      return
    }
    if (this.#intake.isHeld) this.#lastReceivedMs = this.#core.clock.nowMs()
    if (this.#core.clock.nowMs() - this.#lastReceivedMs < this.#keepAliveMs * 1.5) {
      this.#scheduleKeepAlive()
      return
    }
    this.#core.counters.keepAliveTimeouts++
    this.close(ReasonCode.keepAliveTimeout, 'nothing received for 1.5 times the keep-alive') // [MQTT-3.1.2-22]
  }
}

function outOfTurn(): PacketFault {
  return new PacketFault(ReasonCode.protocolError, 'MQTT-3.1.2-30', 'neither AUTH nor DISCONNECT before CONNACK')
}
