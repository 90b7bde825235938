/**
 * The gateways below this broker, as it tells them to everybody: `$fleet/gateways/{gateway}/state`, `/devices` and `/loss`,
 * retained, and mosquitto's `$SYS/broker/connection/{client id}/state`. A lost gateway makes its devices stale; their
 * own status topics are never touched, because nobody knows how they are.
 *
 * It hears from gateways below `$bridge/{gateway}/` (ports/gateway-topics.ts), where only they can speak.
 */

import { RingQueue } from '../lib/ring-queue.ts'
import { utcText } from '../lib/utc.ts'
import type { AlarmBoard } from '../ports/alarms.ts'
import type { Clock } from '../ports/clock.ts'
import { gatewayLevel, stateTopic } from '../ports/gateway-topics.ts'
import { lanes } from '../ports/lane.ts'
import type { LocalBroker, LocalConsumer, LocalSession } from '../ports/local.ts'
import type { Log } from '../ports/log.ts'
import type { Seq, Ticket } from '../ports/store.ts'
import type { Qos } from '../protocol/packet.ts'
import { Publish } from '../protocol/packets/publish.ts'
import { type LossReport, noLoss, withGap } from './losses.ts'
import type { Marks } from './marks.ts'
import type { Pace } from './pacer.ts'
import { Paces } from './paces.ts'
import { afterNews, formatEpoch, type Presence, type PresenceNews, parseEpoch, readNews } from './presence.ts'
import type { Gap } from './receiver.ts'

const inflightMax = 1024
const stateLevels = 4

/** A gateway whose maintenance is over says so by then, if it is here. */
const backSecondsMax = 60

/** What is published as the state of a gateway. */
interface StateReport {
  readonly state: Presence['state']
  readonly since: string
  readonly epoch: string | undefined
  readonly formerLog: string | undefined
  readonly client: string
  readonly until: string | undefined
}

/** A gateway as people see it. */
export interface GatewayEntry {
  readonly gateway: string
  readonly state: Presence['state']
  /** undefined = as fast as it likes. */
  readonly pace: Pace | undefined
}

export class Fleet implements LocalConsumer {
  readonly #clock: Clock
  readonly #log: Log
  readonly #marks: Marks
  readonly #alarms: AlarmBoard
  readonly #session: LocalSession
  readonly #gateways = new Map<string, Presence>()
  /** The client id that each of them connects with. */
  readonly #clientIds = new Map<string, string>()
  /** The last list of devices of each gateway, as it sent it. */
  readonly #devices = new Map<string, string>()
  readonly #losses = new Map<string, LossReport>()
  readonly #answers = new RingQueue<{ readonly ticket: Ticket; readonly answer: Publish }>(10_000)
  readonly #paces: Paces
  /** Gateways whose losses changed in this turn. */
  readonly #untold = new Set<string>()
  readonly canTake = true

  constructor(parts: { local: LocalBroker; alarms: AlarmBoard; marks: Marks; clock: Clock; log: Log }) {
    this.#alarms = parts.alarms
    this.#marks = parts.marks
    this.#clock = parts.clock
    this.#log = parts.log.child({ part: 'fleet' })
    this.#session = parts.local.openSession('$fleet', this)
    this.#paces = new Paces(this.#session)
    this.#session.subscribe([
      { topicFilter: '$bridge/+/#', qos: 1, noLocal: true, retainAsPublished: false, retainHandling: 2 },
      { topicFilter: '$fleet/+/overdue', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 2 },
    ])
  }

  /** Takes up what it published before, and listens from now on. */
  start(): void {
    this.#session.retained('$fleet/gateways/+/state', (message) => this.#restore(message))
    this.#session.retained('$fleet/gateways/+/devices', (message) => {
      const devices: unknown = parseJson(message.payload.toString())
      if (isRecord(devices)) this.#devices.set(gatewayOf(message.topic), JSON.stringify(devices['devices'] ?? {}))
    })
    this.#session.retained('$fleet/gateways/+/loss', (message) => {
      this.#losses.set(gatewayOf(message.topic), JSON.parse(message.payload.toString()) as LossReport)
    })
    this.#paces.restore()
    this.#session.attach(inflightMax)
  }

  /** @returns undefined for a gateway that was never here */
  presenceOf(gateway: string): Presence | undefined {
    return this.#gateways.get(gateway)
  }

  deliver(message: Publish, _qos: Qos, _retain: boolean, _dup: boolean, packetId: number, _seq: Seq): void {
    const [, gateway = '', what, ...rest] = message.topic.split('/')
    if (what === 'state') this.#onState(gateway, rest.join('/'), message)
    else if (what === 'probe') this.#onProbe(gateway, message.payload.toString())
    else if (what === 'devices') this.#onDevices(gateway, message.payload.toString())
    else if (what === 'overdue') this.#onOverdue(gateway, message.payload.toString())
    if (packetId > 0) this.#session.acknowledge(packetId)
  }

  onDurable(ticket: Ticket): void {
    for (let next = this.#answers.peek(); next !== undefined && next.ticket <= ticket; next = this.#answers.peek()) {
      this.#answers.shift()
      this.#session.publish(next.answer)
    }
  }

  // ---- probes ----

  /** Answers with what is here of the gateway, once a commit that began after the question is durable. */
  #onProbe(gateway: string, payload: string): void {
    const probe = parseJson(payload)
    if (!isRecord(probe)) return
    const client = String(probe['client'])
    // A gateway without a certificate is known by its client id alone.
    const markOf = (lane: number) =>
      this.#marks.get(`${gateway}/${client}/${lane}`) ?? this.#marks.get(`/${client}/${lane}`)
    const marks = lanes.map((lane) => markOf(lane) ?? null)
    this.#marks.set(`probe/${gateway}`, { epoch: '0', seq: Number(probe['number']) })
    const answer = Publish.create({
      topic: `$bridge/${gateway}/answer`,
      payload: JSON.stringify({ number: probe['number'], marks }),
    })
    this.#answers.push({ ticket: this.#session.openTicket, answer })
  }

  // ---- pace ----

  /**
   * How fast gateways may send what waits.
   * @param gateway undefined = all of them
   * @param pace undefined = as fast as they like
   */
  setPace(gateway: string | undefined, pace: Pace | undefined): void {
    if (gateway === undefined) this.#paces.setAll(this.#gateways.keys(), pace)
    else this.#paces.set(gateway, pace)
  }

  /** Every gateway that was ever here. */
  get gateways(): readonly GatewayEntry[] {
    return [...this.#gateways].map(([gateway, { state }]) => ({ gateway, state, pace: this.#paces.of(gateway) }))
  }

  // ---- state ----

  #restore(message: Publish): void {
    const report = parseJson(message.payload.toString())
    if (!isRecord(report)) return
    const { state, epoch, formerLog, until, client } = report as unknown as StateReport
    const gateway = gatewayOf(message.topic)
    this.#clientIds.set(gateway, client)
    this.#gateways.set(gateway, { state, epoch: parseEpoch(epoch), formerLog, until })
    this.#alarm(gateway, state, (report as unknown as StateReport).since)
  }

  #onState(gateway: string, clientId: string, message: Publish): void {
    const { userProperties } = message.properties ?? {}
    const news = readNews(message.payload.toString(), userProperties)
    if (news === undefined) return
    const presence = afterNews(this.#gateways.get(gateway), news)
    if (presence === undefined) {
      this.#log.info({ gateway, state: news.state, epoch: epochText(news) }, 'news of a former connection, ignored')
      return
    }
    this.#clientIds.set(gateway, clientId)
    this.#become(gateway, presence)
    if (presence.state === 'online') this.#paces.tell(gateway)
    if (news.leftSeconds !== undefined) this.#expectBack(gateway, news.until, news.leftSeconds)
  }

  #become(gateway: string, presence: Presence): void {
    this.#gateways.set(gateway, presence)
    const { state, until } = presence
    const client = this.#clientIds.get(gateway) ?? gateway
    const since = utcText(this.#clock.wallMs())
    this.#log.info({ gateway, state, epoch: epochText(presence) }, 'gateway state')
    const report: StateReport = {
      state,
      since,
      epoch: epochText(presence),
      formerLog: presence.formerLog,
      client,
      until,
    }
    this.#alarm(gateway, state, since)
    this.#tell(`$fleet/gateways/${gateway}/state`, JSON.stringify(report))
    this.#tell(stateTopic(client), state === 'online' ? '1' : '0')
    // Of a live gateway the devices are told by itself, right behind its birth.
    if (state !== 'online') this.#tellDevices(gateway, 'stale', since)
  }

  // ---- maintenance ----

  /**
   * Somebody works on a gateway, or is done with it. It hears of that when it is here, and says so itself then; one that
   * is lost is missed no more.
   * @param gateway undefined = all of them
   * @param minutes `Infinity` = until it is ended; 0 ends it
   */
  setMaintenance(gateway: string | undefined, minutes: number): void {
    for (const each of gateway === undefined ? [...this.#gateways.keys()] : [gateway]) this.#maintain(each, minutes)
  }

  #maintain(gateway: string, minutes: number): void {
    const isBounded = Number.isFinite(minutes) && minutes > 0
    const properties = isBounded ? { messageExpiryInterval: Math.ceil(minutes * 60) } : undefined
    const topic = `$bridge/${gateway}/maintenance`
    const payload = JSON.stringify({ minutes: Number.isFinite(minutes) ? minutes : null })
    this.#session.publish(Publish.create({ topic, payload, qos: 1, properties }))
    const known = this.#gateways.get(gateway)
    const until = isBounded ? utcText(this.#clock.wallMs() + minutes * 60_000) : undefined
    if (known?.state === 'lost' && minutes > 0) {
      this.#become(gateway, { ...known, state: 'maintenance', until })
      if (isBounded) this.#expectBack(gateway, until, minutes * 60)
    } else if (known?.state === 'maintenance' && minutes === 0) this.#expectBack(gateway, known.until, 0)
  }

  /** Whoever is here says that maintenance is over, a moment after it is. Clocks of gateways may be wrong, so not by `until`. */
  #expectBack(gateway: string, until: string | undefined, leftSeconds: number): void {
    const topic = `$delayed/${Math.ceil(leftSeconds) + backSecondsMax}/$fleet/${gateway}/overdue`
    this.#session.publish(Publish.create({ topic, payload: until ?? '', qos: 1 }))
  }

  #onOverdue(gateway: string, until: string): void {
    const known = this.#gateways.get(gateway)
    if (known?.state === 'maintenance' && (known.until ?? '') === until)
      this.#become(gateway, { ...known, state: 'lost', until: undefined })
  }

  /** A gateway that stopped on purpose, or is being worked on, is missed by nobody. */
  #alarm(gateway: string, state: Presence['state'], since: string): void {
    const name = `gateway_lost:${gateway}`
    if (state === 'lost') this.#alarms.raise(name, `the gateway ${gateway} is out of reach`, { gateway, since })
    else this.#alarms.clear(name)
  }

  // ---- losses ----

  /** A gateway sent, or meant to send, what is not here. */
  onGap(gap: Gap): void {
    const gateway = gatewayLevel(gap.peer)
    const { lane, firstSeq, lastSeq } = gap
    if (gap.isUnexplained)
      this.#log.error({ gateway, lane, firstSeq, seq: lastSeq }, 'messages of a gateway are missing')
    const report = withGap(this.#losses.get(gateway) ?? noLoss, gap, utcText(this.#clock.wallMs()))
    this.#losses.set(gateway, report)
    // Gaps are found while a message is being published: nothing may be published inside that.
    if (this.#untold.size === 0) this.#clock.afterTurn(() => this.#tellLosses())
    this.#untold.add(gateway)
  }

  #tellLosses(): void {
    for (const gateway of this.#untold) {
      this.#tell(`$fleet/gateways/${gateway}/loss`, JSON.stringify(this.#losses.get(gateway)))
    }
    this.#untold.clear()
  }

  // ---- devices ----

  /** @param list `{"client id":"online" or "offline"}` */
  #onDevices(gateway: string, list: string): void {
    const devices = parseJson(list)
    if (!isRecord(devices)) return
    this.#devices.set(gateway, list)
    this.#tellDevices(gateway, 'live', utcText(this.#clock.wallMs()))
  }

  #tellDevices(gateway: string, state: 'live' | 'stale', since: string): void {
    const devices = this.#devices.get(gateway) ?? '{}'
    this.#tell(`$fleet/gateways/${gateway}/devices`, `{"state":"${state}","since":"${since}","devices":${devices}}`)
  }

  #tell(topic: string, payload: string): void {
    this.#session.publish(Publish.create({ topic, payload, qos: 1, retain: true }))
  }
}

function epochText({ epoch }: PresenceNews): string | undefined {
  return epoch === undefined ? undefined : formatEpoch(epoch)
}

function gatewayOf(topic: string): string {
  return topic.split('/', stateLevels)[2] ?? ''
}

/** undefined when it is not JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
