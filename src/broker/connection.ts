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
import type { Link, LinkOwner, ListenerTraits } from '../ports/transport.ts'
import { decodePacket } from '../protocol/decode.ts'
import { PacketFault } from '../protocol/fault.ts'
import { FrameDecoder } from '../protocol/frame.ts'
import { passage } from '../protocol/output.ts'
import {
  type Auth,
  type Connack,
  type ConnackProperties,
  type Connect,
  type ControlPacket,
  PacketType,
  type Version,
} from '../protocol/packet.ts'
import { peekVersion } from '../protocol/packets/connect.ts'
import { ReasonCode, reasonName } from '../protocol/reason.ts'
import { Admission, type AdmissionStep, type Admitted } from './admission.ts'
import type { Core } from './core.ts'
import { Intake } from './intake.ts'
import { greeted, isPeer } from './mount.ts'
import { type Line, OpenConnection } from './open-connection.ts'
import { Outbox, type OutboxOwner } from './outbox.ts'
import { Pace } from './pace.ts'
import { goodbye } from './redirect.ts'

export type ConnectionState =
  | { readonly at: 'awaiting-connect' }
  | { readonly at: 'admitting'; readonly admission: Admission }
  | OpenConnection
  | { readonly at: 'closing' }
  | { readonly at: 'closed' }

/** Where a connection is, and inside its admission where that is. */
export type ConnectionStage = Exclude<ConnectionState['at'], 'admitting'> | Admission['at']

export class Connection implements LinkOwner, Line, OutboxOwner {
  readonly #core: Core
  readonly #link: Link
  readonly #traits: ListenerTraits
  readonly #frames: FrameDecoder
  readonly #outbox: Outbox
  readonly #intake: Intake
  /** undefined = the client may send as fast as it likes. */
  readonly #pace: Pace | undefined
  readonly #timer: WheelTimer
  #state: ConnectionState = { at: 'awaiting-connect' }
  #version: Version = 4
  #clientId = ''
  /** An answer that comes inside a call of ours. */
  #isAdvancing = false
  #keepAliveMs = 0
  #lastReceivedMs: number

  constructor(core: Core, link: Link, traits: ListenerTraits) {
    this.#core = core
    this.#link = link
    this.#traits = traits
    this.#frames = new FrameDecoder(core.settings.packetBytesMax)
    this.#outbox = new Outbox(core, link, this)
    this.#intake = new Intake(link)
    if (traits.rates !== undefined) this.#pace = new Pace(core.clock, core.wheel, this.#intake, traits.rates)
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
    passage.open(this.#link.chunksStay === true)
    try {
      this.#readFrames()
    } finally {
      this.#core.publishPath.endChunk()
      passage.close()
    }
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
      this.#core.publishPath.settle()
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
      state.receive(header, bytes, start, end)
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
        this.sendAuth(step.auth)
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

  sendAuth(auth: Auth): void {
    if (!this.#outbox.send(auth)) this.close(ReasonCode.packetTooLarge, 'AUTH beyond the Maximum Packet Size')
  }

  #open(admitted: Admitted): void {
    const core = this.#core
    const { connect, agreement, mount, principal } = admitted
    const opened = core.sessions.open(admitted.request, admitted.epoch)
    if (opened === undefined) {
      this.#refuse(ReasonCode.serverUnavailable, 'the client connected again meanwhile')
      return
    }
    const { session, isPresent } = opened
    this.#clientId = agreement.clientId
    this.#keepAliveMs = agreement.keepAliveMs
    const open = new OpenConnection(core, this, this.#outbox, this.#intake, admitted, session, this.#link.identity)
    this.#state = open
    if (isPeer(connect, mount)) this.#outbox.numberFor(session, agreement.inflightMax)
    core.counters.connectAccepted++
    // CONNACK is the first packet [MQTT-3.2.0-1], so it goes out before anything that waited for the session.
    const isAnswered = this.#outbox.send({
      type: PacketType.connack,
      sessionPresent: isPresent, // [MQTT-3.2.2-2] [MQTT-3.2.2-3]
      reasonCode: ReasonCode.success,
      properties: connect.version < 5 ? undefined : this.#greeting(admitted),
    })
    if (!isAnswered) {
      core.log.info(this.#facts(), 'client takes no packet as large as CONNACK')
      this.#leave(open, true, reasonName(ReasonCode.packetTooLarge))
      this.#endLink()
      return
    }
    this.#scheduleKeepAlive()
    if (core.log.isLevelEnabled('debug')) core.log.debug(this.#facts(), 'client connected')
    core.sysTopics?.connected(principal, connect, agreement, this.#link)
    core.delivery.attached(session, open)
  }

  #greeting({ connect, agreement, mount, extended, authenticationData }: Admitted): ConnackProperties {
    return {
      ...greeted(connect, mount, agreement.connackProperties, this.#core.clock.nowMs()),
      ...extended?.properties(authenticationData),
    }
  }

  /** Not before somebody wants to read them: where a link comes from is a question to the system. */
  #facts(): object {
    return { clientId: this.#clientId, remote: this.#link.remote, version: this.#version }
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

  onDrain(): void {
    this.#outbox.onDrain()
    this.onRoom()
  }

  onRoom(): void {
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
      this.#leave(state, true, reasonName(reasonCode))
      if (this.#version === 5) this.#outbox.sendWithReason(goodbye(reasonCode, this.#core.settings.redirect), why) // [MQTT-3.14.0-1]
    }
    this.#endLink() // [MQTT-3.14.4-2]
  }

  /** The client said that it goes. */
  closeByClient(reasonCode: ReasonCode): void {
    const state = this.#state
    if (state.at !== 'open') return
    const isNormal = reasonCode === ReasonCode.success
    this.#leave(state, !isNormal, isNormal ? 'normal' : reasonName(reasonCode)) // [MQTT-3.14.4-3]
    this.#core.log.debug({ clientId: this.#clientId, reasonCode: reasonName(reasonCode) }, 'client disconnected')
    this.#endLink()
  }

  onClosed(failure: Failure | undefined): void {
    const state = this.#state
    if (state.at === 'open') {
      this.#leave(state, true, 'connectionLost')
      this.#core.log.debug({ clientId: this.#clientId, err: failure?.message }, 'connection lost')
    }
    this.#state = { at: 'closed' }
    this.#core.wheel.cancel(this.#timer)
    this.#core.connections.delete(this)
    this.#pace?.close()
    this.#core.counters.connectionCount = this.#core.connections.size
  }

  #leave(open: OpenConnection, withWill: boolean, reason: string): void {
    this.#state = { at: 'closing' }
    open.leave(withWill, reason)
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
