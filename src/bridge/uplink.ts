/**
 * The MQTT client end of a bridge: one connection at a time to the remote broker, for as long as the process runs. It
 * speaks 5.0, or 3.1.1 where that is all there is (routes.ts), and knows nothing of local topics or sessions.
 *
 *   waiting --back-off over--> dialing --link--> connecting --CONNACK--> subscribing --SUBACK--> online
 *      ^                          |                  |                        |                    |
 *      +---- link failed, refused, silent while an answer is due, closed, remote DISCONNECT -------+
 *
 * `stopped` ends it from any state. While it is online at another than the preferred address, that one is dialed now
 * and then; when it answers, its link takes the place of the one there is. Whether a link is dead: link-watch.ts.
 */
import type { Backoff } from '../lib/backoff.ts'
import type { Failure } from '../lib/errors.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { FilterMemory } from '../ports/filter-memory.ts'
import { bridgeProperty } from '../ports/gateway-topics.ts'
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
  type UserProperties,
  type Will,
} from '../protocol/packet.ts'
import { decodePublish, encodePublish, type Publish, TopicMemo } from '../protocol/packets/publish.ts'
import { ReasonCode, reasonName } from '../protocol/reason.ts'
import { LinkWatch } from './link-watch.ts'
import { RemoteSubscriptions, type SubscriptionChanges } from './remote-subscriptions.ts'
import { type Protocol, Routes } from './routes.ts'

export interface UplinkSettings {
  readonly clientId: string
  readonly username: string | undefined
  readonly password: string | undefined
  readonly protocol: Protocol
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
  /** While another address serves, the preferred one is tried this often. */
  readonly returnMs: number
  /** A connection that is lost, or cannot be made, is not made again. */
  readonly isOnce: boolean
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

/** What the remote side turned out to be. */
export interface RemoteSide {
  /** The smaller of ours and the remote Receive Maximum. */
  readonly inflightMax: number
  /** It is a Tidegate that takes us as a gateway. */
  readonly isPeer: boolean
  readonly version: 4 | 5
  /** It kept our session. */
  readonly isSessionPresent: boolean
  /** It may send back what we send it: it knows neither No Local nor the bit of a bridge. */
  readonly echoes: boolean
  /** What it calls itself on the way of a message (path.ts); undefined when it does not say. */
  readonly id: string | undefined
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

/** A preferred address that takes the link and then fails is left alone for longer and longer. */
const returnMsMax = 3_600_000

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
  readonly #held: RemoteSubscriptions
  #wanted: readonly SubscriptionRequest[]
  /** SUBSCRIBE and UNSUBSCRIBE without an answer, by packet id. */
  readonly #asked = new Map<number, SubscriptionChanges>()
  #state: State = { at: 'stopped' }
  #version: 4 | 5 = 5
  #frames: FrameDecoder
  #topics = new TopicMemo()
  #isFlushQueued = false
  #isLinkFull = false
  #remotePacketBytesMax = Number.POSITIVE_INFINITY
  #remoteQosMax: Qos = 2
  #isRetainTaken = true
  #onlineSinceMs = 0
  #returnMs: number
  #returnTimer: Timer | undefined
  #returnDial: Dial | undefined

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
    this.#held = new RemoteSubscriptions(parts.memory)
    this.#wanted = settings.subscriptions
    this.#frames = new FrameDecoder(settings.packetBytesMax)
    this.#returnMs = settings.returnMs
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
    const sentQos = Math.min(qos, this.#remoteQosMax) as Qos // [MQTT-3.2.2-11]
    const isSent = encodePublish(
      this.#output,
      message,
      this.#version,
      sentQos,
      retain && this.#isRetainTaken, // [MQTT-3.2.2-14]
      dup && sentQos > 0,
      sentQos > 0 ? packetId : 0,
      properties,
      this.#remotePacketBytesMax,
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
    if (this.#state.at === 'online') this.#askForChanges(this.#state.remote.isPeer)
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
    const { version, isBridge } = this.#routes.dialect
    const { will, userProperties } = this.#owner.greet()
    this.#version = version
    this.#frames = new FrameDecoder(settings.packetBytesMax)
    this.#topics = new TopicMemo()
    this.#output.take()
    this.#isLinkFull = false
    const timer = this.#clock.after(settings.connectTimeoutMs, () => this.#fail('no CONNACK in time'))
    this.#state = { at: 'connecting', link, timer }
    this.#send({
      type: PacketType.connect,
      version,
      isBridge,
      cleanStart: false,
      keepAliveSeconds: settings.keepAliveSeconds,
      clientId: settings.clientId,
      username: settings.username,
      password: settings.password === undefined ? undefined : Buffer.from(settings.password),
      will,
      properties: {
        userProperties,
        sessionExpiryInterval: settings.sessionExpirySeconds,
        receiveMaximum: settings.inflightMax,
        maximumPacketSize: settings.packetBytesMax,
      },
    })
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

  #onConnack({ reasonCode, sessionPresent, properties }: Connack): void {
    const state = this.#state
    if (state.at !== 'connecting') throw new PacketFault(ReasonCode.protocolError, '', 'second CONNACK')
    state.timer.cancel()
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
    const keepAliveMs = (properties?.serverKeepAlive ?? this.#settings.keepAliveSeconds) * 1000 // [MQTT-3.2.2-21]
    this.#watch.connected(keepAliveMs === 0 ? Number.POSITIVE_INFINITY : keepAliveMs)
    this.#remotePacketBytesMax = properties?.maximumPacketSize ?? Number.POSITIVE_INFINITY
    this.#remoteQosMax = properties?.maximumQos ?? 2
    this.#isRetainTaken = properties?.retainAvailable !== 0
    const id = properties?.userProperties?.find(([name]) => name === bridgeProperty)?.[1]
    const { version, isBridge } = this.#routes.dialect
    const remote: RemoteSide = {
      inflightMax: Math.min(this.#settings.inflightMax, properties?.receiveMaximum ?? 65_535), // [MQTT-3.3.4-7]
      isPeer: id !== undefined,
      version,
      isSessionPresent: sessionPresent,
      echoes: version === 4 && !isBridge,
      id,
    }
    if (!sessionPresent) this.#held.forget()
    this.#state = { at: 'subscribing', link: state.link, remote }
    this.#askForChanges(remote.isPeer)
    this.#onAnswered()
  }

  /** Asks for what the remote broker does not hold yet, and gives back what it holds and should not. */
  #askForChanges(isPeer: boolean): void {
    const wanted = isPeer ? [...this.#wanted.map(cappedAt1), ...this.#settings.peerSubscriptions] : this.#wanted
    const { subscribe: subscriptions, unsubscribe: topicFilters } = this.#held.changesTo(wanted, this.#version)
    if (topicFilters.length > 0) {
      const packetId = this.#ask({ subscribe: [], unsubscribe: topicFilters })
      this.#send({ type: PacketType.unsubscribe, packetId, topicFilters, properties: undefined })
    }
    if (subscriptions.length > 0) {
      const packetId = this.#ask({ subscribe: subscriptions, unsubscribe: [] })
      this.#send({ type: PacketType.subscribe, packetId, subscriptions, properties: undefined })
    }
  }

  #ask(changes: SubscriptionChanges): number {
    let packetId = packetIdMax
    while (this.#watch.isUnanswered(packetId)) packetId--
    this.#asked.set(packetId, changes)
    this.#watch.asked(packetId, true)
    return packetId
  }

  #onSubscribed(packetId: number, reasonCodes: readonly ReasonCode[]): void {
    const { subscribe, unsubscribe } = this.#asked.get(packetId) ?? { subscribe: [], unsubscribe: [] }
    if (!this.#asked.delete(packetId)) return
    this.#watch.answered(packetId)
    if (unsubscribe.length > 0) this.#held.unsubscribed(unsubscribe)
    if (subscribe.length > 0) {
      const isGranted = (index: number) => (reasonCodes[index] ?? ReasonCode.unspecifiedError) < 0x80
      this.#held.subscribed(subscribe, this.#version, isGranted)
      for (const [index, { topicFilter }] of subscribe.entries()) {
        if (isGranted(index)) continue
        const reasonCode = reasonName(reasonCodes[index] ?? ReasonCode.unspecifiedError)
        this.#log.warn({ topic: topicFilter, reasonCode }, 'remote broker refuses a subscription')
      }
    }
    this.#onAnswered()
  }

  /** Nothing is published before the answers to it can come back. */
  #onAnswered(): void {
    const state = this.#state
    if (state.at !== 'subscribing' || this.#asked.size > 0) return
    const { link, remote } = state
    this.#state = { at: 'online', link, remote }
    if (this.#routes.isPreferred) this.#returnMs = this.#settings.returnMs
    else this.#scheduleReturn()
    const ms = Math.round(this.roundTripMs)
    this.#log.info({ remote: this.address, version: this.#version, ms }, 'uplink online')
    this.#owner.onOnline(remote)
  }

  // ---- back to the preferred address ----

  #scheduleReturn(): void {
    this.#returnTimer = this.#clock.after(this.#returnMs, () => {
      this.#returnDial = this.#routes.preferred.dial({
        onConnected: (link) => this.#return(link),
        onFailed: () => this.#scheduleReturn(),
      })
    })
  }

  #return(link: Link): LinkOwner {
    this.#returnDial = undefined
    this.#returnMs = Math.min(this.#returnMs * 2, returnMsMax)
    this.#log.info({ remote: this.#routes.preferred.address }, 'preferred address answers')
    this.#routes.goHome()
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
        this.#onSubscribed(packet.packetId, packet.reasonCodes)
        return
      case PacketType.puback:
      case PacketType.pubcomp:
        if (this.#watch.answered(packet.packetId)) this.#owner.onPuback(packet.packetId, packet.reasonCode)
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
    this.#returnTimer?.cancel()
    this.#returnDial?.abort()
    this.#returnDial = undefined
    this.#watch.stop()
    this.#asked.clear()
    this.#output.take()
    if (state.at === 'online') this.#owner.onOffline()
    if (saysGoodbye) state.link.end()
    else if ('link' in state) state.link.destroy()
  }
}

/** Between Tidegates what crosses twice is recognised by its number: QoS 2 would say nothing more. */
function cappedAt1(request: SubscriptionRequest): SubscriptionRequest {
  return request.qos === 2 ? { ...request, qos: 1 } : request
}
