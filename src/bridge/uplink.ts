/**
 * The MQTT client end of a bridge: one connection at a time to the remote broker, for as long as the process runs. It
 * speaks 5.0, or 3.1.1 where that is all there is (routes.ts), and knows nothing of local topics or sessions.
 *
 *   waiting --back-off over--> dialing --link--> connecting --CONNACK--> subscribing --SUBACK--> online
 *      ^                          |                  |                        |                    |
 *      +---- link failed, refused, silent while an answer is due, closed, remote DISCONNECT -------+
 *
 * `stopped` ends it from any state. What is said in CONNECT and CONNACK: handshake.ts; while subscribing:
 * subscription-exchange.ts; back to the preferred address: way-home.ts; whether a link is dead: link-watch.ts.
 */
import type { Backoff } from '../lib/backoff.ts'
import type { Failure } from '../lib/errors.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { FilterMemory } from '../ports/filter-memory.ts'
import type { Log } from '../ports/log.ts'
import type { Dial, Dialer, Link, LinkOwner } from '../ports/transport.ts'
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
  type SubscriptionRequest,
} from '../protocol/packet.ts'
import { decodeShortAckPacketId } from '../protocol/packets/ack.ts'
import { decodePublish, encodePublish, type Publish, TopicMemo } from '../protocol/packets/publish.ts'
import { ReasonCode, reasonName } from '../protocol/reason.ts'
import {
  connectPacket,
  type Greeting,
  type HandshakeSettings,
  type RemoteSide,
  remoteSideOf,
  type Terms,
  termsOf,
} from './handshake.ts'
import { LinkWatch } from './link-watch.ts'
import { type Protocol, Routes } from './routes.ts'
import { SubscriptionExchange } from './subscription-exchange.ts'
import { WayHome } from './way-home.ts'

export interface UplinkSettings extends HandshakeSettings {
  readonly protocol: Protocol
  /** Bytes on their way beyond which the uplink takes no more. */
  readonly outputBytesMax: number
  /** For the link and for CONNACK, each. */
  readonly connectTimeoutMs: number
  /** Longest silence while an answer is due; a quick remote side is given less. */
  readonly ackTimeoutMs: number
  /** While another address serves, the preferred one is tried this often. */
  readonly returnMs: number
  /** A connection that is lost, or cannot be made, is not made again. */
  readonly isOnce: boolean
  /** What to receive from the remote side. */
  readonly subscriptions: readonly SubscriptionRequest[]
  /** What to receive besides from a remote side that is a Tidegate and takes us as a gateway. */
  readonly peerSubscriptions: readonly SubscriptionRequest[]
}

/** Calls come in the order of the drawing above; `onOffline` only after `onOnline`. */
export interface UplinkOwner {
  /** Called for each CONNECT. */
  greet(): Greeting
  onOnline(remote: RemoteSide): void
  onOffline(): void
  /** `message` is borrowed until the call returns. QoS >= 1 is answered with `acknowledge`. */
  onMessage(message: Publish): void
  /** A QoS 2 message of `onMessage` will not come again. Answered with `acknowledge`. */
  onPubrel(packetId: number): void
  /** A QoS 2 message arrived, and is to be released. */
  onPubrec(packetId: number): void
  /** A message is done with: PUBACK, PUBCOMP, or a PUBREC that refuses. */
  onPuback(packetId: number, reasonCode: ReasonCode): void
  /** There is room again after `canTake` was false. */
  onDrain(): void
}

type State =
  | { readonly at: 'stopped' }
  | { readonly at: 'waiting'; readonly timer: Timer }
  | { readonly at: 'dialing'; readonly dial: Dial }
  | { readonly at: 'connecting'; readonly link: Link; readonly timer: Timer }
  | { readonly at: 'subscribing'; readonly link: Link; readonly remote: RemoteSide }
  | { readonly at: 'online'; readonly link: Link; readonly remote: RemoteSide }

export type UplinkState = State['at']

/** A link that held this long was a good one: the next back-off starts from the beginning. */
const stableMs = 60_000

/** SUBSCRIBE and UNSUBSCRIBE take packet ids from the far end, where messages come last. */
const packetIdMax = 65_535

export class Uplink {
  /** Since the start, over all connections. */
  sentBytes = 0
  receivedBytes = 0
  readonly #settings: UplinkSettings
  readonly #routes: Routes
  readonly #clock: Clock
  readonly #backoff: Backoff
  readonly #log: Log
  readonly #owner: UplinkOwner
  readonly #output = new OutputBuffer()
  readonly #watch: LinkWatch
  readonly #subscriptions: SubscriptionExchange
  readonly #wayHome: WayHome
  #wanted: readonly SubscriptionRequest[]
  #state: State = { at: 'stopped' }
  #version: 4 | 5 = 5
  #frames: FrameDecoder
  #topics = new TopicMemo()
  #isFlushQueued = false
  #isLinkFull = false
  #terms: Terms = { packetBytesMax: 0, qosMax: 2, isRetainTaken: true, keepAliveMs: 0 }
  #greetedAtMs = 0
  #onlineSinceMs = 0

  /** @param parts.dialers one for each address, the preferred one first */
  constructor(parts: {
    settings: UplinkSettings
    dialers: readonly Dialer[]
    memory: FilterMemory
    clock: Clock
    backoff: Backoff
    log: Log
    owner: UplinkOwner
  }) {
    const { settings, clock } = parts
    this.#settings = settings
    this.#routes = new Routes(parts.dialers, settings.protocol)
    this.#clock = clock
    this.#backoff = parts.backoff
    this.#log = parts.log
    this.#owner = parts.owner
    this.#wanted = settings.subscriptions
    this.#frames = new FrameDecoder(settings.packetBytesMax)
    this.#subscriptions = new SubscriptionExchange(parts.memory, parts.log, {
      send: (packet) => this.#send(packet),
      takePacketId: () => this.#takePacketId(),
      answered: (packetId) => this.#watch.answered(packetId),
    })
    this.#wayHome = new WayHome(clock, this.#routes, settings.returnMs, (link) => this.#moveTo(link))
    this.#watch = new LinkWatch(clock, settings.ackTimeoutMs, {
      ping: () => this.#send({ type: PacketType.pingreq }),
      onDead: (silentMs) => this.#fail(`no answer for ${Math.round(silentMs)} ms`),
    })
  }

  get state(): UplinkState {
    return this.#state.at
  }

  get roundTripMs(): number {
    return this.#watch.roundTripMs
  }

  /** Where it is, or tries to be. */
  get address(): string {
    return this.#routes.dialer.address
  }

  /** For the next connection: the same addresses, with certificates that were renewed. */
  dialWith(dialers: readonly Dialer[]): void {
    this.#routes.dialWith(dialers)
  }

  start(): void {
    if (this.#state.at === 'stopped') this.#dial()
  }

  /** Says goodbye if there is somebody to hear it. The remote session stays. */
  stop(): void {
    this.#leave({ at: 'stopped' }, true)
  }

  // ---- what the owner does while online ----

  get canTake(): boolean {
    return this.#state.at === 'online' && !this.#isLinkFull && this.#output.byteCount < this.#settings.outputBytesMax
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
      this.#version,
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
    else if (packetId !== 0) this.#owner.onPuback(packetId, ReasonCode.success)
    return true
  }

  /** PUBREL for a message of `onPubrec`. */
  release(packetId: number): void {
    if (this.#state.at !== 'online') return
    encodeAck(this.#output, PacketType.pubrel, packetId)
    this.#watch.asked(packetId, false)
    this.#queueFlush()
  }

  /**
   * PUBACK or PUBREC for a message of `onMessage`, PUBCOMP for an `onPubrel`. Without effect when the link it came over
   * is gone.
   */
  acknowledge(packetId: number, type: AckType = PacketType.puback): void {
    // Messages may come before SUBACK.
    if (this.#state.at !== 'online' && this.#state.at !== 'subscribing') return
    encodeAck(this.#output, type, packetId)
    this.#queueFlush()
  }

  /** The remote side cannot go on just now: leaves, and tries again after a back-off. */
  retreat(why: string): void {
    this.#fail(why)
  }

  /** What to receive from now on; only what differs is asked for. */
  subscribe(subscriptions: readonly SubscriptionRequest[]): void {
    this.#wanted = subscriptions
    if (this.#state.at === 'online') this.#askForSubscriptions(this.#state.remote.isPeer)
  }

  // ---- getting online ----

  #dial(): void {
    const dial = this.#routes.dialer.dial({
      onConnected: (link) => this.#onConnected(link),
      onFailed: (failure) => this.#fail(failure.message),
    })
    this.#state = { at: 'dialing', dial }
  }

  #onConnected(link: Link): LinkOwner {
    const settings = this.#settings
    const { dialect } = this.#routes
    const greeting = this.#owner.greet()
    this.#version = dialect.version
    this.#frames = new FrameDecoder(settings.packetBytesMax)
    this.#topics = new TopicMemo()
    this.#output.take()
    this.#isLinkFull = false
    const timer = this.#clock.after(settings.connectTimeoutMs, () => this.#fail('no CONNACK in time'))
    this.#state = { at: 'connecting', link, timer }
    this.#greetedAtMs = this.#clock.nowMs()
    this.#send(connectPacket(settings, dialect, greeting))
    this.#watch.connecting()
    // What comes late from a link that was given up is nobody's.
    const isCurrent = () => 'link' in this.#state && this.#state.link === link
    return {
      receive: (chunk) => {
        if (isCurrent()) this.#receive(chunk)
      },
      onDrain: () => {
        if (isCurrent()) this.#onDrain()
      },
      onClosed: (failure) => {
        if (isCurrent()) this.#onClosed(failure)
      },
    }
  }

  #onConnack(connack: Connack): void {
    const state = this.#state
    if (state.at !== 'connecting') throw new PacketFault(ReasonCode.protocolError, '', 'second CONNACK')
    state.timer.cancel()
    const { reasonCode } = connack
    if (reasonCode === ReasonCode.unsupportedProtocolVersion) {
      this.#refuseDialect(reasonName(reasonCode))
      return
    }
    if (reasonCode !== ReasonCode.success) {
      this.#fail(`refused: ${reasonName(reasonCode)}`)
      return
    }
    this.#routes.understand()
    this.#onlineSinceMs = this.#clock.nowMs()
    this.#terms = termsOf(connack, this.#settings)
    this.#watch.connected(this.#terms.keepAliveMs)
    const { dialect } = this.#routes
    const remote = remoteSideOf(connack, this.#settings, dialect, this.#greetedAtMs, this.#onlineSinceMs)
    if (!remote.isSessionPresent) this.#subscriptions.forget()
    this.#state = { at: 'subscribing', link: state.link, remote }
    this.#askForSubscriptions(remote.isPeer)
    this.#onAnswered()
  }

  #askForSubscriptions(isPeer: boolean): void {
    const wanted = isPeer ? withPeer(this.#wanted.map(cappedAt1), this.#settings.peerSubscriptions) : this.#wanted
    this.#subscriptions.ask(wanted, this.#version)
  }

  #takePacketId(): number {
    let packetId = packetIdMax
    while (this.#watch.isUnanswered(packetId)) packetId--
    this.#watch.asked(packetId, true)
    return packetId
  }

  /** Nothing is published before the answers to it can come back. */
  #onAnswered(): void {
    const state = this.#state
    if (state.at !== 'subscribing' || !this.#subscriptions.isSettled) return
    const { link, remote } = state
    this.#state = { at: 'online', link, remote }
    this.#wayHome.online()
    const ms = Math.round(this.roundTripMs)
    this.#log.info({ remote: this.address, version: this.#version, ms }, 'uplink online')
    this.#owner.onOnline(remote)
  }

  /** The preferred address answers. */
  #moveTo(link: Link): LinkOwner {
    this.#log.info({ remote: this.address }, 'preferred address answers')
    this.#leave({ at: 'stopped' }, true)
    return this.#onConnected(link)
  }

  // ---- bytes in ----

  #receive(chunk: Buffer): void {
    this.#watch.heard()
    this.receivedBytes += chunk.length
    const frames = this.#frames
    frames.push(chunk)
    try {
      // Once the link is given up, its frames are replaced or nobody's.
      while (frames === this.#frames && 'link' in this.#state && frames.next()) {
        if (frames.header >> 4 === PacketType.publish) {
          const { bytes, start, end, header } = frames
          this.#owner.onMessage(decodePublish(bytes, start, end, header & 15, this.#version, this.#topics))
          continue
        }
        const ackedPacketId = decodeShortAckPacketId(frames.header, frames.bytes, frames.start, frames.end)
        if (ackedPacketId !== 0 && frames.header >> 4 === PacketType.puback) {
          this.#onPuback(ackedPacketId, ReasonCode.success)
          continue
        }
        const packet = decodePacket(frames.header, frames.bytes, frames.start, frames.end, this.#version)
        if (packet instanceof PacketFault) throw packet
        this.#receivePacket(packet)
      }
    } catch (error) {
      if (!(error instanceof PacketFault)) throw error
      // What a broker that does not know 5.0 answers to it is not valid in 5.0 either.
      if (this.#state.at === 'connecting') this.#refuseDialect(error.message)
      else this.#fail(`protocol fault: ${error.message}`)
    }
  }

  #receivePacket(packet: ControlPacket): void {
    switch (packet.type) {
      case PacketType.connack:
        this.#onConnack(packet)
        return
      case PacketType.suback:
      case PacketType.unsuback:
        this.#subscriptions.onAnswer(packet.packetId, packet.reasonCodes, this.#version)
        this.#onAnswered()
        return
      case PacketType.puback:
      case PacketType.pubcomp:
        this.#onPuback(packet.packetId, packet.reasonCode)
        return
      case PacketType.pubrec:
        if (!this.#watch.answered(packet.packetId)) return
        if (packet.reasonCode < 0x80) this.#owner.onPubrec(packet.packetId)
        else this.#owner.onPuback(packet.packetId, packet.reasonCode)
        return
      case PacketType.pubrel:
        this.#owner.onPubrel(packet.packetId)
        return
      case PacketType.pingresp:
        this.#watch.pinged()
        return
      case PacketType.disconnect:
        this.#fail(`remote broker disconnects: ${reasonName(packet.reasonCode)}`)
        return
      default:
        throw new PacketFault(ReasonCode.protocolError, '', `unexpected packet of type ${packet.type}`)
    }
  }

  /** PUBACK or PUBCOMP. */
  #onPuback(packetId: number, reasonCode: ReasonCode): void {
    if (this.#watch.answered(packetId)) this.#owner.onPuback(packetId, reasonCode)
  }

  // ---- bytes out ----

  #send(packet: ControlPacket): void {
    encodePacket(this.#output, packet, this.#version)
    this.#queueFlush()
  }

  #queueFlush(): void {
    if (this.#isFlushQueued) return
    this.#isFlushQueued = true
    this.#clock.afterTurn(() => this.#flush())
  }

  #flush(): void {
    this.#isFlushQueued = false
    if (!('link' in this.#state) || this.#output.byteCount === 0) return
    this.#watch.wrote()
    this.sentBytes += this.#output.byteCount
    this.#state.link.send(this.#output.take())
    this.#isLinkFull = this.#state.link.bufferedByteCount > this.#settings.outputBytesMax
  }

  #onDrain(): void {
    this.#isLinkFull = false
    if (this.#state.at === 'online') this.#owner.onDrain()
  }

  // ---- the end of a link ----

  #onClosed(failure: Failure | undefined): void {
    if (this.#state.at === 'connecting') this.#routes.endSilently()
    this.#fail(failure?.message ?? 'closed by the remote side')
  }

  /** The remote broker does not understand this version of MQTT. */
  #refuseDialect(why: string): void {
    if (this.#routes.refuseDialect()) this.#tryNext(this.address, `refused: ${why}`)
    else this.#fail(`refused: ${why}`)
  }

  /** Gives the link up, if there is one, and tries the next address, or after a back-off the first one. */
  #fail(why: string): void {
    const { at } = this.#state
    if (at === 'stopped' || at === 'waiting') return
    const { address } = this
    const wasOnline = at === 'online' || at === 'subscribing'
    if (this.#settings.isOnce) {
      this.#log.warn({ remote: address, err: why }, 'uplink lost, and not made again')
      this.#leave({ at: 'stopped' }, false)
      return
    }
    if (wasOnline) this.#routes.goHome()
    else if (this.#routes.goOn()) {
      this.#tryNext(address, why)
      return
    }
    if (wasOnline && this.#clock.nowMs() - this.#onlineSinceMs >= stableMs) this.#backoff.reset()
    const delayMs = this.#backoff.nextMs()
    this.#log.warn({ remote: address, err: why, ms: Math.round(delayMs) }, 'uplink lost')
    this.#leave({ at: 'waiting', timer: this.#clock.after(delayMs, () => this.#dial()) }, false)
  }

  #tryNext(address: string, why: string): void {
    this.#log.warn({ remote: address, err: why }, 'uplink tries another way')
    this.#leave({ at: 'waiting', timer: this.#clock.after(0, () => this.#dial()) }, false)
  }

  /** @param withGoodbye the remote broker hears that we leave, and keeps the will to itself */
  #leave(next: State, withGoodbye: boolean): void {
    const state = this.#state
    const saysGoodbye = withGoodbye && state.at === 'online'
    if (saysGoodbye) {
      this.#send({ type: PacketType.disconnect, reasonCode: ReasonCode.success, properties: undefined })
      this.#flush()
    }
    this.#state = next
    if (state.at === 'waiting' || state.at === 'connecting') state.timer.cancel()
    if (state.at === 'dialing') state.dial.abort()
    this.#wayHome.stop()
    this.#watch.stop()
    this.#subscriptions.abandon()
    this.#output.take()
    if (state.at === 'online') this.#owner.onOffline()
    if (saysGoodbye) state.link.end()
    else if ('link' in state) state.link.destroy()
  }
}

function withPeer(wanted: readonly SubscriptionRequest[], more: readonly SubscriptionRequest[]): SubscriptionRequest[] {
  const filters = new Set(wanted.map(({ topicFilter }) => topicFilter))
  return [...wanted, ...more.filter(({ topicFilter }) => !filters.has(topicFilter))]
}

/** Between Tidegates what crosses twice is recognised by its number: QoS 2 would say nothing more. */
function cappedAt1(request: SubscriptionRequest): SubscriptionRequest {
  return request.qos === 2 ? { ...request, qos: 1 } : request
}
