/**
 * What a bridge says about itself to the broker above: a birth when it is online, a will that is ready should it be
 * lost, a farewell when it leaves on purpose. Each connection has a number, so that what comes late is known as old.
 */

import { utcText } from '../lib/utc.ts'
import type { Clock } from '../ports/clock.ts'
import { bridgeProperty, stateTopic } from '../ports/gateway-topics.ts'
import type { PublishProperties, UserProperties, Will } from '../protocol/packet.ts'
import { Publish } from '../protocol/packets/publish.ts'
import type { Greeting } from './handshake.ts'
import type { Marks } from './marks.ts'
import {
  epochProperty,
  formatEpoch,
  type GatewayState,
  leftProperty,
  stateProperty,
  untilProperty,
} from './presence.ts'

export interface HeraldSettings {
  readonly name: string
  readonly clientId: string
  /** false: the remote broker is told nothing. */
  readonly notifications: boolean
  /** How long the remote broker waits for us to come back before it calls us lost. */
  readonly lostAfterSeconds: number
}

/** Where the broker above says that somebody works on this gateway. */
export const maintenanceTopic = '$bridge/maintenance'

/**
 * @param payload `{"minutes":90}`, null = until it is ended
 * @param leftSeconds what the message that says so has left, if that is bounded
 * @returns undefined for anything else
 */
export function readMinutes(payload: string, leftSeconds: number | undefined): number | undefined {
  const text = /^{"minutes":(null|\d+(?:\.\d+)?)}$/.exec(payload)?.[1]
  if (text === undefined) return undefined
  const minutes = text === 'null' ? Number.POSITIVE_INFINITY : Number(text)
  return Math.min(minutes, leftSeconds === undefined ? minutes : leftSeconds / 60)
}

/** Connections in a row that end at once before nothing more is told. */
const briefCountMax = 3

export class Herald {
  readonly #settings: HeraldSettings
  readonly #log: string
  readonly #boot: number
  readonly #topic: string
  readonly #marks: Marks
  readonly #clock: Clock
  #connection = 0
  /** On the timeline; 0 = nobody works on this gateway, `Number.MAX_SAFE_INTEGER` = until it is said. */
  #maintenanceUntilMs: number
  /** Connections in a row that the remote broker closed at once. */
  #briefCount = 0
  /** It does not want to be told. */
  #isSilent = false

  /** @param log identity of the local log */
  constructor(settings: HeraldSettings, log: string, marks: Marks, clock: Clock) {
    this.#settings = settings
    this.#marks = marks
    this.#clock = clock
    this.#maintenanceUntilMs = marks.get(maintenanceKey(settings.name))?.seq ?? 0
    this.#log = log
    this.#topic = stateTopic(settings.clientId)
    const key = `bridge/${settings.name}/boot`
    const former = marks.get(key)
    this.#boot = former?.epoch === log ? former.seq + 1 : 1
    marks.set(key, { epoch: log, seq: this.#boot })
  }

  /** For the next CONNECT. */
  greet(): Greeting {
    this.#connection++
    const { notifications, lostAfterSeconds } = this.#settings
    const will: Will = {
      topic: this.#topic,
      payload: Buffer.from('0'),
      qos: 1,
      retain: true,
      properties: { willDelayInterval: lostAfterSeconds, userProperties: this.#facts('lost') },
    }
    return { will: notifications && !this.#isSilent ? will : undefined, userProperties: [[bridgeProperty, '1']] }
  }

  /** Holds over restarts: whoever works on a gateway restarts it. @param minutes `Infinity` = until it is ended; 0 ends it */
  setMaintenance(minutes: number): void {
    const untilMs = minutes === 0 ? 0 : Math.min(this.#clock.nowMs() + minutes * 60_000, Number.MAX_SAFE_INTEGER)
    this.#maintenanceUntilMs = Math.ceil(untilMs)
    this.#marks.set(maintenanceKey(this.#settings.name), { epoch: '0', seq: this.#maintenanceUntilMs })
  }

  get isMaintenanceOver(): boolean {
    return this.#maintenanceUntilMs > 0 && this.#clock.nowMs() >= this.#maintenanceUntilMs
  }

  /** What is said of a connection that is online. */
  birth(): Publish | undefined {
    if (this.#maintenanceUntilMs === 0) return this.tell('online')
    if (this.#maintenanceUntilMs === Number.MAX_SAFE_INTEGER) return this.tell('maintenance')
    const leftMs = this.#maintenanceUntilMs - this.#clock.nowMs()
    return this.tell('maintenance', Math.max(0, leftMs))
  }

  /** The message that says `state`; undefined when the remote broker is to be told nothing. @param leftMs of maintenance */
  tell(state: GatewayState, leftMs?: number): Publish | undefined {
    if (!this.#settings.notifications || this.#isSilent) return undefined
    const facts = this.#facts(state)
    const userProperties = leftMs === undefined ? facts : [...facts, ...this.#endOf(leftMs)]
    const properties: PublishProperties = { userProperties }
    return Publish.create({ topic: this.#topic, payload: state === 'online' ? '1' : '0', retain: true, properties })
  }

  /**
   * A connection is over. Some brokers close it for a message below `$SYS`: after a few that end right behind the birth
   * nothing more is told.
   * @param wasBrief it was closed at once, and nothing had been acknowledged
   * @returns true when this one made it silent
   */
  ended(wasBrief: boolean): boolean {
    this.#briefCount = wasBrief ? this.#briefCount + 1 : 0
    if (this.#isSilent || !this.#settings.notifications || this.#briefCount < briefCountMax) return false
    this.#isSilent = true
    return true
  }

  /** For people by the clock, for programs without one. */
  #endOf(leftMs: number): UserProperties {
    return [
      [untilProperty, utcText(this.#clock.wallMs() + leftMs)],
      [leftProperty, String(Math.ceil(leftMs / 1000))],
    ]
  }

  #facts(state: GatewayState): UserProperties {
    const epoch = formatEpoch({ log: this.#log, boot: this.#boot, connection: this.#connection })
    return [
      [stateProperty, state],
      [epochProperty, epoch],
    ]
  }
}

function maintenanceKey(bridge: string): string {
  return `bridge/${bridge}/maintenance`
}
