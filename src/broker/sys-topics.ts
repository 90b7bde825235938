/**
 * What the broker tells about itself, in EMQX's topics below `$SYS/brokers`: who it is, how it fares, and who comes
 * and goes. On demand mosquitto's topics too (sys-mosquitto.ts). Everything is QoS 0 and counted nowhere as received.
 */
import { utcText } from '../lib/utc.ts'
import type { Principal } from '../ports/auth.ts'
import type { Clock } from '../ports/clock.ts'
import type { MessageLog } from '../ports/store.ts'
import type { Link } from '../ports/transport.ts'
import type { Connect } from '../protocol/packet.ts'
import type { Counters } from './counters.ts'
import type { HouseTopics } from './house-topics.ts'
import type { Agreement } from './negotiate.ts'
import type { RetainedTable } from './retained.ts'
import type { Router } from './router.ts'
import type { ShareTable } from './share.ts'
import { MosquittoTree } from './sys-mosquitto.ts'

export interface SysSettings {
  /** A topic level. */
  readonly nodeName: string
  readonly version: string
  /** Between two tellings of everything. */
  readonly intervalMs: number
  /** Between two signs of life. */
  readonly heartbeatMs: number
  readonly withMosquitto: boolean
}

/** What there is now; the counters tell what happened. */
export interface Census {
  readonly connections: number
  readonly sessions: number
  readonly subscriptions: number
  readonly sharedSubscriptions: number
  readonly retained: number
}

const neverExpires = 0xffff_ffff

export class SysTopics {
  readonly #settings: SysSettings
  readonly #clock: Clock
  readonly #messages: MessageLog
  readonly #counters: Counters
  readonly #router: Router
  readonly #shares: ShareTable
  readonly #retained: RetainedTable
  readonly #topics: HouseTopics
  readonly #mosquitto: MosquittoTree | undefined
  readonly #startedMs: number
  #peak: Census
  #nextAllMs: number
  #nextHeartbeatMs: number

  constructor(parts: {
    settings: SysSettings
    clock: Clock
    messages: MessageLog
    counters: Counters
    router: Router
    shares: ShareTable
    retained: RetainedTable
    topics: HouseTopics
  }) {
    this.#settings = parts.settings
    this.#clock = parts.clock
    this.#messages = parts.messages
    this.#counters = parts.counters
    this.#router = parts.router
    this.#shares = parts.shares
    this.#retained = parts.retained
    this.#topics = parts.topics
    this.#startedMs = parts.clock.nowMs()
    this.#nextAllMs = this.#startedMs
    this.#nextHeartbeatMs = this.#startedMs
    this.#mosquitto = parts.settings.withMosquitto ? new MosquittoTree(this.#startedMs) : undefined
    this.#peak = this.#census()
  }

  /** Tells what is due. */
  tick(nowMs: number): void {
    const census = this.#census()
    this.#peak = highest(this.#peak, census)
    if (nowMs >= this.#nextHeartbeatMs) {
      this.#nextHeartbeatMs = nowMs + this.#settings.heartbeatMs
      this.#tell(this.#topic('uptime'), String(Math.floor(nowMs - this.#startedMs)))
      this.#tell(this.#topic('datetime'), utcText(this.#clock.wallMs()))
    }
    if (nowMs >= this.#nextAllMs) {
      this.#nextAllMs = nowMs + this.#settings.intervalMs
      this.#tellAll(nowMs, census)
    }
  }

  connected({ username }: Principal, connect: Connect, agreement: Agreement, link: Link): void {
    if (!this.#router.isSysWanted) return
    const { version, cleanStart } = connect
    const { clientId, keepAliveMs, expiryIntervalSeconds } = agreement
    const wallMs = Math.floor(this.#clock.wallMs())
    this.#announce(clientId, 'connected', {
      clientid: clientId,
      username: username ?? null,
      ipaddress: /^\[?(.*?)\]?:\d+$/.exec(link.remote)?.[1] ?? link.remote,
      proto_name: version === 3 ? 'MQIsdp' : 'MQTT',
      proto_ver: version,
      keepalive: keepAliveMs / 1000,
      expiry_interval: Math.min(expiryIntervalSeconds, neverExpires),
      clean_start: cleanStart,
      connack: 0,
      connected_at: wallMs,
      ts: wallMs,
    })
  }

  /** @param reason `normal` or the name of a reason code */
  disconnected(clientId: string, username: string | undefined, reason: string): void {
    if (!this.#router.isSysWanted) return
    const wallMs = Math.floor(this.#clock.wallMs())
    this.#announce(clientId, 'disconnected', {
      clientid: clientId,
      username: username ?? null,
      reason,
      disconnected_at: wallMs,
      ts: wallMs,
    })
  }

  #tellAll(nowMs: number, census: Census): void {
    const { nodeName, version } = this.#settings
    this.#tell('$SYS/brokers', nodeName)
    this.#tell(this.#topic('version'), version)
    this.#tell(this.#topic('sysdescr'), 'Tidegate')
    for (const [name, key] of stats) {
      this.#tell(this.#topic(`stats/${name}/count`), String(census[key]))
      this.#tell(this.#topic(`stats/${name}/max`), String(this.#peak[key]))
    }
    for (const [name, value] of metrics(this.#counters)) this.#tell(this.#topic(`metrics/${name}`), String(value))
    if (this.#mosquitto === undefined) return
    const tree = this.#mosquitto.topics(nowMs, version, census, this.#peak, this.#counters, this.#messages)
    for (const [name, value] of tree) this.#tell(`$SYS/broker/${name}`, String(value))
  }

  #census(): Census {
    const sharedSubscriptions = this.#shares.memberCount
    const groups = this.#shares.groupCount
    return {
      connections: this.#counters.connectionCount,
      sessions: this.#counters.sessionCount - groups,
      subscriptions: this.#router.subscriptionCount - groups + sharedSubscriptions,
      sharedSubscriptions,
      retained: this.#retained.count - this.#topics.valueCount,
    }
  }

  #topic(name: string): string {
    return `$SYS/brokers/${this.#settings.nodeName}/${name}`
  }

  #tell(topic: string, payload: string): void {
    this.#topics.tell(topic, payload)
  }

  #announce(clientId: string, event: string, facts: object): void {
    const level = clientId.replace(/[+#]/g, '_') // A topic cannot hold them; the payload tells exactly.
    this.#topics.announce(this.#topic(`clients/${level}/${event}`), () => facts)
  }
}

const stats = [
  ['connections', 'connections'],
  ['sessions', 'sessions'],
  ['subscriptions', 'subscriptions'],
  ['subscriptions/shared', 'sharedSubscriptions'],
  ['retained', 'retained'],
] as const

function metrics(counters: Counters): [name: string, value: number][] {
  const { dropped } = counters
  return [
    ['bytes/received', counters.receivedBytes],
    ['bytes/sent', counters.sentBytes],
    ['messages/received', counters.receivedMessages],
    ['messages/sent', counters.sentMessages],
    ['messages/delayed', counters.delayedMessages],
    ['messages/dropped', counters.droppedMessages],
    ['messages/persisted', counters.storedMessages],
    ['client/connack', counters.connectAccepted + counters.connectRefused],
    ['client/connected', counters.connectAccepted],
    ['connections/refused', counters.linksRefused],
    ['session/takenover', counters.takeovers],
    ['authorization/deny', dropped.notAuthorized],
    ['delivery/dropped/expired', dropped.expired],
    ['delivery/dropped/qos0_msg', dropped.linkFull + dropped.offlineQos0],
    [
      'delivery/dropped/queue_full',
      dropped.queueFull + dropped.sessionQueueFull + dropped.backlogFull + dropped.laneFull,
    ],
    ['delivery/dropped/too_old', dropped.tooOld],
    ['delivery/dropped/thinned', dropped.thinned],
    ['delivery/dropped/too_large', dropped.tooLarge],
  ]
}

function highest(one: Census, other: Census): Census {
  return {
    connections: Math.max(one.connections, other.connections),
    sessions: Math.max(one.sessions, other.sessions),
    subscriptions: Math.max(one.subscriptions, other.subscriptions),
    sharedSubscriptions: Math.max(one.sharedSubscriptions, other.sharedSubscriptions),
    retained: Math.max(one.retained, other.retained),
  }
}
