/**
 * The MQTT client end of a bridge: one connection at a time to the remote broker, for as long as the process runs. It
 * speaks 5.0, or 3.1.1 where that is all there is (routes.ts), and knows nothing of local topics or sessions.
 *
 *   waiting --back-off over--> dialing --link--> connecting --CONNACK--> subscribing --SUBACK--> online
 *      ^                          |                  |                        |                    |
 *      +---- link failed, refused, silent while an answer is due, closed, remote DISCONNECT -------+
 *
 * `stopped` ends it from any state. What is said in CONNECT and CONNACK: handshake.ts; while subscribing:
 * subscription-exchange.ts; back to the preferred address: way-home.ts; what passes while there is a link:
 * remote-connection.ts; whether a link is dead: link-watch.ts.
 */
import type { Backoff } from '../lib/backoff.ts'
import type { Failure } from '../lib/errors.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { FilterMemory } from '../ports/filter-memory.ts'
import type { Log } from '../ports/log.ts'
import type { Dial, Dialer, Link, LinkOwner } from '../ports/transport.ts'
import { PacketFault } from '../protocol/fault.ts'
import {
  type AckType,
  type Connack,
  PacketType,
  type PublishProperties,
  type Qos,
  type SubscriptionRequest,
} from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import { ReasonCode, reasonName } from '../protocol/reason.ts'
import {
  connectPacket,
  type Greeting,
  type HandshakeSettings,
  type RemoteSide,
  remoteSideOf,
  termsOf,
} from './handshake.ts'
import { type ConnectionLimits, type MessageOwner, RemoteConnection } from './remote-connection.ts'
import { type Protocol, Routes } from './routes.ts'
import { SubscriptionExchange } from './subscription-exchange.ts'
import { WayHome } from './way-home.ts'

export interface UplinkSettings extends HandshakeSettings, ConnectionLimits {
  readonly protocol: Protocol
  /** For the link and for CONNACK, each. */
  readonly connectTimeoutMs: number
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
export interface UplinkOwner extends MessageOwner {
  /** Called for each CONNECT. */
  greet(): Greeting
  onOnline(remote: RemoteSide): void
  onOffline(): void
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

/** What the remote broker has no room for at the moment is asked for again. */
const askAgainMs = 60_000

export class Uplink {
  readonly #settings: UplinkSettings
  readonly #routes: Routes
  readonly #clock: Clock
  readonly #backoff: Backoff
  readonly #log: Log
  readonly #owner: UplinkOwner
  readonly #connection: RemoteConnection
  readonly #subscriptions: SubscriptionExchange
  readonly #wayHome: WayHome
  #wanted: readonly SubscriptionRequest[]
  #state: State = { at: 'stopped' }
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
    const { settings, clock, owner } = parts
    this.#settings = settings
    this.#routes = new Routes(parts.dialers, settings.protocol)
    this.#clock = clock
    this.#backoff = parts.backoff
    this.#log = parts.log
    this.#owner = owner
    this.#wanted = settings.subscriptions
    this.#connection = new RemoteConnection(settings, clock, owner, {
      onConnack: (connack) => this.#onConnack(connack),
      onSubscriptionAnswer: (packetId, reasonCodes) => {
        const isForNow = this.#subscriptions.onAnswer(packetId, reasonCodes, this.#connection.version)
        this.#onAnswered()
        if (isForNow) this.#askAgain()
      },
      onDrain: () => {
        if (this.#state.at === 'online') owner.onDrain()
      },
      onFault: (message) => this.#onFault(message),
      onEnd: (why) => this.#fail(why),
      onClosed: (failure) => this.#onClosed(failure),
    })
    this.#subscriptions = new SubscriptionExchange(parts.memory, parts.log, this.#connection)
    this.#wayHome = new WayHome(clock, this.#routes, settings.returnMs, (link) => this.#moveTo(link))
  }

  get state(): UplinkState {
    return this.#state.at
  }

  get roundTripMs(): number {
    return this.#connection.roundTripMs
  }

  /** Since the start, over all connections. */
  get sentBytes(): number {
    return this.#connection.sentBytes
  }

  get receivedBytes(): number {
    return this.#connection.receivedBytes
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
    return this.#state.at === 'online' && this.#connection.canTake
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
    return this.#connection.publish(message, qos, retain, dup, packetId, properties)
  }

  /** PUBREL for a message of `onPubrec`. */
  release(packetId: number): void {
    if (this.#state.at === 'online') this.#connection.release(packetId)
  }

  /**
   * PUBACK or PUBREC for a message of `onMessage`, PUBCOMP for an `onPubrel`. Without effect when the link it came over
   * is gone.
   */
  acknowledge(packetId: number, type: AckType = PacketType.puback): void {
    // Messages may come before SUBACK.
    const { at } = this.#state
    if (at === 'online' || at === 'subscribing') this.#connection.acknowledge(packetId, type)
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
    const linkOwner = this.#connection.open(link, dialect.version)
    const timer = this.#clock.after(settings.connectTimeoutMs, () => this.#fail('no CONNACK in time'))
    this.#state = { at: 'connecting', link, timer }
    this.#greetedAtMs = this.#clock.nowMs()
    this.#connection.send(connectPacket(settings, dialect, greeting))
    return linkOwner
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
    this.#connection.accepted(termsOf(connack, this.#settings))
    const { dialect } = this.#routes
    const remote = remoteSideOf(connack, this.#settings, dialect, this.#greetedAtMs, this.#onlineSinceMs)
    if (!remote.isSessionPresent) this.#subscriptions.forget()
    this.#state = { at: 'subscribing', link: state.link, remote }
    this.#askForSubscriptions(remote.isPeer)
    this.#onAnswered()
  }

  #askForSubscriptions(isPeer: boolean): void {
    const wanted = isPeer ? withPeer(this.#wanted.map(cappedAt1), this.#settings.peerSubscriptions) : this.#wanted
    this.#subscriptions.ask(wanted, this.#connection.version)
  }

  #askAgain(): void {
    const asked = this.#state
    this.#clock.after(askAgainMs, () => {
      const state = this.#state
      const isSameLink = state.at === 'online' && 'link' in asked && asked.link === state.link
      if (isSameLink) this.#askForSubscriptions(state.remote.isPeer)
    })
  }

  /** Nothing is published before the answers to it can come back. */
  #onAnswered(): void {
    const state = this.#state
    if (state.at !== 'subscribing' || !this.#subscriptions.isSettled) return
    const { link, remote } = state
    this.#state = { at: 'online', link, remote }
    this.#wayHome.online()
    const ms = Math.round(this.roundTripMs)
    this.#log.info({ remote: this.address, version: this.#connection.version, ms }, 'uplink online')
    this.#owner.onOnline(remote)
  }

  /** The preferred address answers. */
  #moveTo(link: Link): LinkOwner {
    this.#log.info({ remote: this.address }, 'preferred address answers')
    this.#leave({ at: 'stopped' }, true)
    return this.#onConnected(link)
  }

  // ---- the end of a link ----

  #onClosed(failure: Failure | undefined): void {
    if (this.#state.at === 'connecting') this.#routes.endSilently()
    this.#fail(failure?.message ?? 'closed by the remote side')
  }

  /** What a broker that does not know 5.0 answers to it is not valid in 5.0 either. */
  #onFault(message: string): void {
    if (this.#state.at === 'connecting') this.#refuseDialect(message)
    else this.#fail(`protocol fault: ${message}`)
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
      this.#connection.send({ type: PacketType.disconnect, reasonCode: ReasonCode.success, properties: undefined })
      this.#connection.flush()
    }
    this.#state = next
    if (state.at === 'waiting' || state.at === 'connecting') state.timer.cancel()
    if (state.at === 'dialing') state.dial.abort()
    this.#wayHome.stop()
    this.#connection.close()
    this.#subscriptions.abandon()
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
