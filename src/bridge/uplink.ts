/**
 * The MQTT 5.0 client end of a bridge: one connection at a time to the remote broker, for as long as the process runs.
 * It knows nothing of local topics or sessions.
 *
 *   waiting --back-off over--> dialing --link--> connecting --CONNACK--> subscribing --SUBACK--> online
 *      ^                          |                  |                        |                    |
 *      +---- link failed, refused, silent while an answer is due, closed, remote DISCONNECT -------+
 *
 * `stopped` ends it from any state. A dead link is noticed by an answer that does not come (round-trip.ts), whichever
 * it is: CONNACK, SUBACK, PUBACK or PINGRESP; the keep-alive only makes sure that something is asked now and then.
 */
import type { Backoff } from '../lib/backoff.ts'
import type { Failure } from '../lib/errors.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import { bridgeProperty } from '../ports/gateway-topics.ts'
import type { Log } from '../ports/log.ts'
import type { Dial, Dialer, Link, LinkOwner } from '../ports/transport.ts'
import { decodePacket } from '../protocol/decode.ts'
import { encodeAck, encodePacket } from '../protocol/encode.ts'
import { PacketFault } from '../protocol/fault.ts'
import { FrameDecoder } from '../protocol/frame.ts'
import { OutputBuffer } from '../protocol/output.ts'
import {
  type Connack,
  type ControlPacket,
  PacketType,
  type PublishProperties,
  type Qos,
  type SubscriptionRequest,
  type UserProperties,
  type Will,
} from '../protocol/packet.ts'
import { decodePublish, encodePublish, type Publish, TopicMemo } from '../protocol/packets/publish.ts'
import { ReasonCode, reasonName } from '../protocol/reason.ts'
import { RoundTrip } from './round-trip.ts'

export interface UplinkSettings {
  readonly clientId: string
  readonly keepAliveSeconds: number
  /** How long the remote broker keeps our subscriptions and what waits for them while we are away. */
  readonly sessionExpirySeconds: number
  /** QoS >= 1 messages without acknowledgement in either direction. */
  readonly inflightMax: number
  /** Largest packet that is accepted, in bytes. */
  readonly packetBytesMax: number
  /** Bytes on their way beyond which the uplink takes no more. */
  readonly outputBytesMax: number
  /** For the link and for CONNACK, each. */
  readonly connectTimeoutMs: number
  /** Longest silence while an answer is due; a quick remote side is given less. */
  readonly ackTimeoutMs: number
  /** What to receive from the remote side. */
  readonly subscriptions: readonly SubscriptionRequest[]
  /** What to receive besides from a remote side that is a Tidegate and takes us as a gateway. */
  readonly peerSubscriptions: readonly SubscriptionRequest[]
}

/** What a CONNECT says of this end. */
export interface Greeting {
  readonly will: Will | undefined
  readonly userProperties: UserProperties
}

/** Calls come in the order of the drawing above; `onOffline` only after `onOnline`. */
export interface UplinkOwner {
  /** Called for each CONNECT. */
  greet(): Greeting
  /**
   * @param inflightMax the smaller of ours and the remote Receive Maximum
   * @param isPeer the remote side is a Tidegate that takes us as a gateway
   */
  onOnline(inflightMax: number, isPeer: boolean): void
  onOffline(): void
  /** `message` is borrowed until the call returns. QoS >= 1 is answered with `acknowledge`. */
  onMessage(message: Publish): void
  onPuback(packetId: number, reasonCode: ReasonCode): void
  /** There is room again after `canTake` was false. */
  onDrain(): void
}

type State =
  | { readonly at: 'stopped' }
  | { readonly at: 'waiting'; readonly timer: Timer }
  | { readonly at: 'dialing'; readonly dial: Dial }
  | { readonly at: 'connecting'; readonly link: Link; readonly timer: Timer }
  | { readonly at: 'subscribing'; readonly link: Link; readonly inflightMax: number; readonly isPeer: boolean }
  | { readonly at: 'online'; readonly link: Link }

export type UplinkState = State['at']

/** A link that held this long was a good one: the next back-off starts from the beginning. */
const stableMs = 60_000

/** How often an open link is looked at: silence is noticed this much late at most. */
const watchIntervalMs = 200

const subscribePacketId = 1

export class Uplink implements LinkOwner {
  readonly #settings: UplinkSettings
  readonly #dialer: Dialer
  readonly #clock: Clock
  readonly #backoff: Backoff
  readonly #log: Log
  readonly #owner: UplinkOwner
  readonly #output = new OutputBuffer()
  readonly #roundTrip: RoundTrip
  #state: State = { at: 'stopped' }
  #frames: FrameDecoder
  #topics = new TopicMemo()
  /** What was asked for on this connection. */
  #subscriptions: readonly SubscriptionRequest[] = []
  #watch: Timer | undefined
  #isFlushQueued = false
  #isLinkFull = false
  #remotePacketBytesMax = Number.POSITIVE_INFINITY
  #onlineSinceMs = 0
  #lastSentMs = 0
  /** Since when an answer is due and nothing came; undefined while nothing is unanswered. */
  #silentSinceMs: number | undefined
  #isPingUnanswered = false
  /** Messages sent and not acknowledged, with the time for those that were sent once [packet id, sent at]. */
  readonly #unanswered = new Map<number, number>()

  constructor(parts: {
    settings: UplinkSettings
    dialer: Dialer
    clock: Clock
    backoff: Backoff
    log: Log
    owner: UplinkOwner
  }) {
    this.#settings = parts.settings
    this.#dialer = parts.dialer
    this.#clock = parts.clock
    this.#backoff = parts.backoff
    this.#log = parts.log
    this.#owner = parts.owner
    this.#frames = new FrameDecoder(parts.settings.packetBytesMax)
    this.#roundTrip = new RoundTrip(parts.settings.ackTimeoutMs)
  }

  get state(): UplinkState {
    return this.#state.at
  }

  get roundTripMs(): number {
    return this.#roundTrip.smoothedMs
  }

  start(): void {
    if (this.#state.at === 'stopped') this.#dial()
  }

  /** Says goodbye if there is somebody to hear it. The remote session stays. */
  stop(): void {
    const state = this.#state
    if (state.at === 'online') {
      this.#send({ type: PacketType.disconnect, reasonCode: ReasonCode.success, properties: undefined })
      this.#flush()
    }
    this.#leave({ at: 'stopped' })
    if (state.at === 'online') state.link.end()
    else if ('link' in state) state.link.destroy()
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
    const output = this.#output
    if (!encodePublish(output, message, 5, qos, retain, dup, packetId, properties, this.#remotePacketBytesMax))
      return false
    if (qos > 0) {
      // A message sent twice measures nothing: its acknowledgement may belong to either (Karn's rule).
      this.#unanswered.set(packetId, dup ? Number.NaN : this.#clock.nowMs())
      this.#silentSinceMs ??= this.#clock.nowMs()
    }
    this.#queueFlush()
    return true
  }

  /** PUBACK for a message of `onMessage`. Without effect when the link it came over is gone. */
  acknowledge(packetId: number): void {
    if (this.#state.at !== 'online') return
    encodeAck(this.#output, PacketType.puback, packetId)
    this.#queueFlush()
  }

  /** The remote side cannot go on just now: leaves, and tries again after a back-off. */
  retreat(why: string): void {
    this.#fail(why)
  }

  // ---- getting online ----

  #dial(): void {
    const dial = this.#dialer.dial({
      onConnected: (link) => {
        this.#onConnected(link)
        return this
      },
      onFailed: (failure) => this.#fail(failure.message),
    })
    this.#state = { at: 'dialing', dial }
  }

  #onConnected(link: Link): void {
    const settings = this.#settings
    this.#frames = new FrameDecoder(settings.packetBytesMax)
    this.#topics = new TopicMemo()
    this.#output.take()
    this.#isLinkFull = false
    const timer = this.#clock.after(settings.connectTimeoutMs, () => this.#fail('no CONNACK in time'))
    this.#state = { at: 'connecting', link, timer }
    const { will, userProperties } = this.#owner.greet()
    this.#send({
      type: PacketType.connect,
      version: 5,
      isBridge: false,
      cleanStart: false,
      keepAliveSeconds: settings.keepAliveSeconds,
      clientId: settings.clientId,
      username: undefined,
      password: undefined,
      will,
      properties: {
        userProperties,
        sessionExpiryInterval: settings.sessionExpirySeconds,
        receiveMaximum: settings.inflightMax,
        maximumPacketSize: settings.packetBytesMax,
      },
    })
    this.#silentSinceMs = this.#clock.nowMs()
  }

  #onConnack(connack: Connack): void {
    const state = this.#state
    if (state.at !== 'connecting') throw new PacketFault(ReasonCode.protocolError, '', 'second CONNACK')
    state.timer.cancel()
    if (connack.reasonCode !== ReasonCode.success) {
      this.#fail(`refused: ${reasonName(connack.reasonCode)}`)
      return
    }
    const nowMs = this.#clock.nowMs()
    if (this.#silentSinceMs !== undefined) this.#roundTrip.measure(nowMs - this.#silentSinceMs)
    this.#silentSinceMs = undefined
    this.#remotePacketBytesMax = connack.properties?.maximumPacketSize ?? Number.POSITIVE_INFINITY
    const inflightMax = Math.min(this.#settings.inflightMax, connack.properties?.receiveMaximum ?? 65_535) // [MQTT-3.3.4-7]
    this.#onlineSinceMs = nowMs
    this.#watchLink()
    const isPeer = connack.properties?.userProperties?.some(([name]) => name === bridgeProperty) ?? false
    const { subscriptions, peerSubscriptions } = this.#settings
    this.#subscriptions = isPeer ? [...subscriptions, ...peerSubscriptions] : subscriptions
    if (this.#subscriptions.length === 0) {
      this.#goOnline(state.link, inflightMax, isPeer)
      return
    }
    this.#state = { at: 'subscribing', link: state.link, inflightMax, isPeer }
    this.#silentSinceMs = nowMs
    this.#send({
      type: PacketType.subscribe,
      packetId: subscribePacketId,
      subscriptions: this.#subscriptions,
      properties: undefined,
    })
  }

  /** Nothing is published before the answers to it can come back. */
  #onSuback(reasonCodes: readonly ReasonCode[]): void {
    const state = this.#state
    if (state.at !== 'subscribing') return
    this.#silentSinceMs = undefined
    for (const [index, reasonCode] of reasonCodes.entries()) {
      if (reasonCode < 0x80) continue
      const topicFilter = this.#subscriptions[index]?.topicFilter
      this.#log.warn({ topic: topicFilter, reasonCode: reasonName(reasonCode) }, 'remote broker refuses a subscription')
    }
    this.#goOnline(state.link, state.inflightMax, state.isPeer)
  }

  #goOnline(link: Link, inflightMax: number, isPeer: boolean): void {
    this.#state = { at: 'online', link }
    this.#log.info({ remote: this.#dialer.address, ms: Math.round(this.#roundTrip.smoothedMs) }, 'uplink online')
    this.#owner.onOnline(inflightMax, isPeer)
  }

  // ---- bytes in ----

  receive(chunk: Buffer): void {
    // Whatever came, somebody is there: an answer that is still due gets its full time again.
    if (this.#silentSinceMs !== undefined && this.#state.at === 'online') this.#silentSinceMs = this.#clock.nowMs()
    const frames = this.#frames
    frames.push(chunk)
    try {
      while ('link' in this.#state && frames.next()) {
        if (frames.header >> 4 === PacketType.publish) {
          const { bytes, start, end, header } = frames
          this.#owner.onMessage(decodePublish(bytes, start, end, header & 15, 5, this.#topics))
          continue
        }
        const packet = decodePacket(frames.header, frames.bytes, frames.start, frames.end, 5)
        if (packet instanceof PacketFault) throw packet
        this.#receivePacket(packet)
      }
    } catch (error) {
      if (!(error instanceof PacketFault)) throw error
      this.#fail(`protocol fault: ${error.message}`)
    }
  }

  #receivePacket(packet: ControlPacket): void {
    switch (packet.type) {
      case PacketType.connack:
        this.#onConnack(packet)
        return
      case PacketType.suback:
        this.#onSuback(packet.reasonCodes)
        return
      case PacketType.puback: {
        const sentAtMs = this.#unanswered.get(packet.packetId)
        if (sentAtMs === undefined) return
        if (!Number.isNaN(sentAtMs)) this.#roundTrip.measure(this.#clock.nowMs() - sentAtMs)
        this.#unanswered.delete(packet.packetId)
        this.#settle()
        this.#owner.onPuback(packet.packetId, packet.reasonCode)
        return
      }
      case PacketType.pingresp:
        this.#isPingUnanswered = false
        this.#settle()
        return
      case PacketType.disconnect:
        this.#fail(`remote broker disconnects: ${reasonName(packet.reasonCode)}`)
        return
      default:
        throw new PacketFault(ReasonCode.protocolError, '', `unexpected packet of type ${packet.type}`)
    }
  }

  #settle(): void {
    if (this.#unanswered.size === 0 && !this.#isPingUnanswered) this.#silentSinceMs = undefined
  }

  // ---- time ----

  #watchLink(): void {
    this.#watch = this.#clock.after(watchIntervalMs, () => {
      this.#watchLink()
      this.#look()
    })
  }

  #look(): void {
    const nowMs = this.#clock.nowMs()
    if (this.#silentSinceMs !== undefined) {
      const silentMs = nowMs - this.#silentSinceMs
      if (silentMs >= this.#roundTrip.deadAfterMs) this.#fail(`no answer for ${Math.round(silentMs)} ms`)
      else if (silentMs >= this.#roundTrip.pingAfterMs) this.#ping()
    } else if (nowMs - this.#lastSentMs >= this.#settings.keepAliveSeconds * 1000) {
      this.#ping() // [MQTT-3.1.2-20]
    }
  }

  #ping(): void {
    if (this.#isPingUnanswered || this.#state.at !== 'online') return
    this.#isPingUnanswered = true
    this.#silentSinceMs ??= this.#clock.nowMs()
    this.#send({ type: PacketType.pingreq })
  }

  // ---- bytes out ----

  #send(packet: ControlPacket): void {
    encodePacket(this.#output, packet, 5)
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
    this.#lastSentMs = this.#clock.nowMs()
    this.#state.link.send(this.#output.take())
    this.#isLinkFull = this.#state.link.bufferedByteCount > this.#settings.outputBytesMax
  }

  onDrain(): void {
    this.#isLinkFull = false
    if (this.#state.at === 'online') this.#owner.onDrain()
  }

  // ---- the end of a link ----

  onClosed(failure: Failure | undefined): void {
    this.#fail(failure?.message ?? 'closed by the remote side')
  }

  /** Gives the link up, if there is one, and tries again after a back-off. */
  #fail(why: string): void {
    const state = this.#state
    if (state.at === 'stopped' || state.at === 'waiting') return
    const nowMs = this.#clock.nowMs()
    if (state.at === 'online' && nowMs - this.#onlineSinceMs >= stableMs) this.#backoff.reset()
    const delayMs = this.#backoff.nextMs()
    this.#log.warn({ remote: this.#dialer.address, err: why, ms: Math.round(delayMs) }, 'uplink lost')
    this.#leave({ at: 'waiting', timer: this.#clock.after(delayMs, () => this.#dial()) })
    if ('link' in state) state.link.destroy()
  }

  #leave(next: State): void {
    const state = this.#state
    this.#state = next
    if (state.at === 'waiting' || state.at === 'connecting') state.timer.cancel()
    if (state.at === 'dialing') state.dial.abort()
    this.#watch?.cancel()
    this.#watch = undefined
    this.#silentSinceMs = undefined
    this.#isPingUnanswered = false
    this.#unanswered.clear()
    this.#output.take()
    if (state.at === 'online') this.#owner.onOffline()
  }
}
