/**
 * One bridge: durable sessions of the local broker, one for each lane, joined to an uplink. The log and their cursors
 * are the store and forward; nothing is queued here. A message leaves the log when the remote broker has acknowledged
 * it, and while the uplink is away nothing moves.
 *
 *   lane sessions --deliver--> number, map topic --> uplink        uplink --onMessage--> map topic --> local publish
 *        ^---- acknowledge ----------- PUBACK <-------+                 +<-- PUBACK once the local commit is durable
 */
import type { AlarmBoard } from '../ports/alarms.ts'
import type { BridgeStatus } from '../ports/bridge-status.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { DelayHolder } from '../ports/delayed-ahead.ts'
import type { LocalBroker } from '../ports/local.ts'
import type { Log } from '../ports/log.ts'
import { retainedTalk } from '../ports/peer.ts'
import type { Dialer } from '../ports/transport.ts'
import { Publish } from '../protocol/packets/publish.ts'
import { type ReasonCode, reasonName } from '../protocol/reason.ts'
import type { DeviceList } from './devices.ts'
import type { Greeting, RemoteSide } from './handshake.ts'
import { Herald, type HeraldSettings, maintenanceTopic, readMinutes } from './herald.ts'
import { Incoming } from './incoming.ts'
import { type LoopAlarm, LoopGuard } from './loop-guard.ts'
import { Mapping, type MappingRule } from './mapping.ts'
import type { Marks } from './marks.ts'
import { Monitor, type MonitorSettings } from './monitor.ts'
import { type Pace, Pacer } from './pacer.ts'
import { paceOf, readPace } from './paces.ts'
import type { GatewayReceiver } from './receiver.ts'
import { subscriptionsFor } from './remote-subscriptions.ts'
import { ownResponseSubscriptions, type ResponseSettings, Responses } from './responses.ts'
import { RetainedExchange } from './retained-exchange.ts'
import { Sender } from './sender.ts'
import { Starter, type StarterSettings } from './starter.ts'
import type { Uplink, UplinkOwner } from './uplink.ts'

export interface BridgeSettings extends HeraldSettings, StarterSettings, MonitorSettings, ResponseSettings {
  readonly inflightMax: number
  /** Messages per second; 0 = as many as the line takes. */
  readonly rateMax: number
  readonly out: readonly MappingRule[]
  readonly in: readonly MappingRule[]
  readonly delayedHolder: DelayHolder
}

const lookMs = 1000

/** A connection that ends sooner was closed for what was said first. */
const briefMs = 2000

export class Bridge implements UplinkOwner {
  readonly #settings: BridgeSettings
  #rateMax: number
  readonly #log: Log
  readonly #clock: Clock
  #uplink: Uplink
  readonly #pacer: Pacer
  readonly #sender: Sender
  readonly #herald: Herald
  readonly #starter: Starter
  readonly #loops: LoopGuard
  readonly #monitor: Monitor
  readonly #retained: RetainedExchange
  readonly #responses: Responses
  readonly #incoming: Incoming
  readonly #devices: DeviceList | undefined
  readonly #ignoreDevices: (() => void) | undefined
  #isPeer = false
  #onlineAtMs = 0
  /** Of this connection: what came from the remote side. */
  #answeredCount = 0
  /** Messages per second that the remote side asks for. */
  #askedRate: number | undefined
  #look: Timer | undefined

  /**
   * @param parts.devices told to a remote side that is a Tidegate
   * @param parts.epoch identity of the local log
   * @param parts.receiver recognises what the remote side sends again
   * @param parts.makeUplink called once with the owner to report to
   */
  constructor(parts: {
    settings: BridgeSettings
    epoch: string
    log: Log
    clock: Clock
    receiver: GatewayReceiver
    local: LocalBroker
    marks: Marks
    devices: DeviceList | undefined
    alarms: AlarmBoard
    makeUplink: (owner: UplinkOwner) => Uplink
  }) {
    const { settings, epoch, log, clock, local, marks } = parts
    this.#settings = settings
    this.#rateMax = settings.rateMax
    this.#log = log
    this.#clock = clock
    this.#loops = new LoopGuard({
      epoch,
      clock,
      isRelay: (clientId) => local.isRelay(clientId),
      alarm: this.#loopAlarm(parts.alarms),
    })
    this.#responses = new Responses(settings, clock)
    this.#devices = parts.devices
    this.#ignoreDevices = parts.devices?.onChange(() => this.#tellDevices())
    this.#herald = new Herald(settings, epoch, marks, clock)
    this.#uplink = parts.makeUplink(this)
    this.#pacer = new Pacer(clock, ownPace(settings.rateMax))
    this.#sender = new Sender({
      settings,
      epoch,
      clock,
      log,
      local,
      marks,
      pacer: this.#pacer,
      loops: this.#loops,
      responses: this.#responses,
      out: new Mapping(settings.out, 'out'),
      uplink: () => this.#uplink,
      onDurable: (ticket) => this.#incoming.onDurable(ticket),
    })
    this.#incoming = new Incoming({
      settings,
      receiver: parts.receiver,
      loops: this.#loops,
      responses: this.#responses,
      session: this.#sender.session,
      uplink: () => this.#uplink,
      onBridgeMessage: (message, isNew) => this.#onBridgeMessage(message, isNew),
    })
    this.#retained = new RetainedExchange({ settings, clock, log, sender: this.#sender, uplink: () => this.#uplink })
    const bridge = this
    this.#monitor = new Monitor({
      settings,
      epoch,
      clock,
      log,
      local,
      sender: this.#sender,
      uplink: () => this.#uplink,
      retained: this.#retained,
    })
    this.#starter = new Starter(settings, clock, {
      get isStopped() {
        return bridge.#uplink.state === 'stopped'
      },
      get backlogCount() {
        return bridge.#sender.backlogCount
      },
      get messageCount() {
        return bridge.#sender.forwardedCount + bridge.#incoming.receivedCount
      },
      connect: () => this.#uplink.start(),
      disconnect: () => this.#disconnect(),
    })
  }

  /** New rules for what crosses: both sides are asked only for what differs. */
  map(rules: { readonly out: readonly MappingRule[]; readonly in: readonly MappingRule[] }): void {
    this.#incoming.map(rules.in)
    this.#responses.map(rules.out, rules.in)
    this.#sender.subscribe(new Mapping(rules.out, 'out'))
    this.#uplink.subscribe([...subscriptionsFor(rules.in), ...ownResponseSubscriptions(this.#settings)])
    this.#retained.map(rules.out, rules.in)
  }

  /** Another way up, by new settings: what there is ends with a goodbye. */
  reconnect(makeUplink: (owner: UplinkOwner) => Uplink): void {
    const isRunning = this.#uplink.state !== 'stopped'
    this.#disconnect()
    this.#uplink = makeUplink(this)
    if (isRunning) this.#uplink.start()
  }

  /** For the next connection: the same addresses, with certificates that were renewed. */
  dialWith(dialers: readonly Dialer[]): void {
    this.#uplink.dialWith(dialers)
  }

  /** @param rateMax messages per second; 0 = as many as the line takes. What the remote side asks for comes first. */
  limitRate(rateMax: number): void {
    this.#rateMax = rateMax
    if (this.#askedRate === undefined) this.setPace(undefined)
  }

  get status(): BridgeStatus {
    const loopedCount = this.#loops.endedCount
    return { ...this.#monitor.status(), receivedCount: this.#incoming.receivedCount, loopedCount }
  }

  start(): void {
    this.#starter.start()
    this.#look ??= this.#clock.after(lookMs, () => this.#lookAround())
  }

  #lookAround(): void {
    this.#look = this.#clock.after(lookMs, () => this.#lookAround())
    const probe = this.#monitor.look()
    if (probe !== undefined) this.#tell(probe)
    this.#retained.look()
    this.#loops.look()
    if (this.#herald.isMaintenanceOver) this.setMaintenance(0)
  }

  #loopAlarm(alarms: AlarmBoard): LoopAlarm {
    const bridge = this.#settings.name
    const name = `message_loop:bridge:${bridge}`
    return {
      raise: (topic, clientId) => {
        const message = `messages that ${clientId} brings go out over the bridge ${bridge} and come back; take their topics out of the rules of one of the two`
        alarms.raise(name, message, { topic, clientId, bridge })
      },
      clear: () => alarms.clear(name),
    }
  }

  /**
   * Somebody works on this gateway, so that its loss alarms nobody. Holds over restarts.
   * @param minutes `Infinity` = until it is ended; 0 ends it
   */
  setMaintenance(minutes: number): void {
    this.#herald.setMaintenance(minutes)
    this.#log.info({ minutes: Number.isFinite(minutes) ? Math.round(minutes * 10) / 10 : undefined }, 'maintenance')
    if (this.#uplink.state !== 'online') return
    this.#tell(this.#herald.birth())
    this.#tellDevices()
  }

  /** @param pace undefined = as the settings say */
  setPace(pace: Pace | undefined): void {
    this.#pacer.setPace(pace ?? ownPace(this.#rateMax))
    if (pace?.rate !== this.#askedRate) {
      this.#log.info({ rate: pace?.rate, count: this.#sender.backlogCount }, 'pace of the bridge set')
    }
    this.#askedRate = pace?.rate
    this.#sender.resume()
  }

  stop(): void {
    this.#look?.cancel()
    this.#look = undefined
    this.#starter.stop()
  }

  /** Stops for good: it is in the settings no more, or others take its place. What waits stays in the log. */
  close(): void {
    this.stop()
    this.#ignoreDevices?.()
    this.#sender.close()
    this.#loops.close()
    this.#monitor.look()
  }

  #disconnect(): void {
    if (this.#uplink.state === 'online') this.#tell(this.#herald.tell('stopped'))
    this.#uplink.stop()
  }

  // ---- the connection ----

  greet(): Greeting {
    this.#incoming.greet()
    return this.#herald.greet()
  }

  onOnline(remote: RemoteSide): void {
    const { isPeer, version } = remote
    this.#isPeer = isPeer
    this.#onlineAtMs = this.#clock.nowMs()
    this.#answeredCount = 0
    this.#loops.remoteKnows(version)
    this.#responses.online(isPeer)
    this.#incoming.online(remote)
    this.#tell(this.#herald.birth())
    this.#tellDevices()
    this.#monitor.connected(isPeer)
    this.#sender.attach(remote)
    this.#retained.online(remote)
  }

  onOffline(): void {
    const wasBrief = this.#answeredCount === 0 && this.#clock.nowMs() - this.#onlineAtMs < briefMs
    if (this.#herald.ended(wasBrief && !this.#isPeer)) {
      this.#log.warn(
        {},
        'remote broker closes each connection at once: it is told no more whether this bridge is up, as with notifications = false',
      )
    }
    this.#monitor.disconnected()
    this.#retained.offline()
    this.#sender.detach()
  }

  #tellDevices(): void {
    if (this.#devices === undefined || !this.#isPeer || this.#uplink.state !== 'online') return
    this.#tell(Publish.create({ topic: '$bridge/devices', payload: this.#devices.toJson() }))
  }

  #tell(news: Publish | undefined): void {
    if (news !== undefined) this.#uplink.publish(news, 0, news.retain, false, 0, news.properties)
  }

  // ---- local -> remote ----

  onPubrec(packetId: number): void {
    this.#answeredCount++
    this.#sender.onPubrec(packetId)
  }

  onPuback(packetId: number, reasonCode: ReasonCode): void {
    this.#answeredCount++
    if (this.#sender.onPuback(packetId, reasonCode)) this.#monitor.progressed()
    // The remote side has no room just now; the message stays where it is and is sent again after the back-off.
    else this.#uplink.retreat(`remote broker answers ${reasonName(reasonCode)}`)
  }

  onDrain(): void {
    this.#sender.resume()
  }

  // ---- remote -> local ----

  onMessage(message: Publish): void {
    this.#incoming.onMessage(message)
  }

  onPubrel(packetId: number): void {
    this.#incoming.onPubrel(packetId)
  }

  /** What the broker above says about the bridge itself. */
  #onBridgeMessage({ topic, payload: bytes, properties }: Publish, isNew: boolean): void {
    const payload = bytes.toString()
    if (topic === '$bridge/answer') this.#monitor.answered(payload)
    else if (topic === retainedTalk.answer) this.#retained.onAnswer(payload)
    else if (topic === '$bridge/pace') this.setPace(readPace(payload))
    else if (topic === maintenanceTopic && isNew) {
      const minutes = readMinutes(payload, properties?.messageExpiryInterval)
      if (minutes !== undefined) this.setMaintenance(minutes)
    }
  }
}

function ownPace(rateMax: number): Pace | undefined {
  return rateMax === 0 ? undefined : paceOf(rateMax)
}
