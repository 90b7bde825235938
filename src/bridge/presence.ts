/**
 * Whether a gateway is there, as a pure decision. Births and deaths carry the number of the connection they speak of;
 * a death counts only when it is not older than what is known, so that a late one never marks a live gateway dead.
 *
 *   online --will--> lost       stopped, maintenance: the gateway said so itself before it left
 *      ^--------- birth -------------+        a will that comes during maintenance changes nothing
 */
import type { UserProperties } from '../protocol/packet.ts'

export const stateProperty = 'x-b-state'
export const epochProperty = 'x-b-epoch'
export const untilProperty = 'x-b-until'
export const leftProperty = 'x-b-left'

export type GatewayState = 'online' | 'lost' | 'stopped' | 'maintenance'

/** Numbers the connections of a gateway. Comparable while the log is the same. */
export interface Epoch {
  /** Identity of the gateway's log. */
  readonly log: string
  /** Starts of the gateway's process over that log. */
  readonly boot: number
  /** Connections of that process. */
  readonly connection: number
}

/** @example formatEpoch({ log: '9f3c', boot: 12, connection: 3 }) // '9f3c.12.3' */
export function formatEpoch({ log, boot, connection }: Epoch): string {
  return `${log}.${boot}.${connection}`
}

export function parseEpoch(text: string | undefined): Epoch | undefined {
  const match = text === undefined ? null : /^([0-9a-f]{1,32})\.(\d{1,15})\.(\d{1,15})$/.exec(text)
  if (match === null) return undefined
  return { log: match[1] as string, boot: Number(match[2]), connection: Number(match[3]) }
}

export interface Presence {
  readonly state: GatewayState
  /** undefined for a bridge of another make, which does not number its connections. */
  readonly epoch: Epoch | undefined
  /** The log before the present one: what still comes of it is old. */
  readonly formerLog: string | undefined
  /** Of maintenance: UTC, for people. */
  readonly until?: string | undefined
}

/** A birth or a death, as its message tells it. */
export interface PresenceNews {
  readonly state: GatewayState
  readonly epoch: Epoch | undefined
  readonly until?: string | undefined
  /** What is left of maintenance, in seconds. */
  readonly leftSeconds?: number | undefined
}

/** @param payload `1` or `0`, as mosquitto has it */
export function readNews(payload: string, userProperties: UserProperties | undefined): PresenceNews | undefined {
  const epoch = parseEpoch(propertyOf(userProperties, epochProperty))
  const told = propertyOf(userProperties, stateProperty)
  if (payload === '1') return { state: 'online', epoch }
  if (payload !== '0') return undefined
  const left = propertyOf(userProperties, leftProperty)
  return {
    state: told === 'stopped' || told === 'maintenance' ? told : 'lost',
    epoch,
    until: propertyOf(userProperties, untilProperty),
    leftSeconds: left !== undefined && /^\d{1,9}$/.test(left) ? Number(left) : undefined,
  }
}

/** What is known after `news`; undefined when it is out of date. */
export function afterNews(known: Presence | undefined, news: PresenceNews): Presence | undefined {
  if (known !== undefined && isOlder(news.epoch, known)) return undefined
  const log = known?.epoch?.log
  const isNewLog = news.epoch !== undefined && log !== undefined && log !== news.epoch.log
  // Whoever works on a gateway takes it off the line, and has said so.
  const isExpected = known?.state === 'maintenance' && news.state === 'lost'
  const state = isExpected ? 'maintenance' : news.state
  const until = isExpected ? known.until : news.until
  return { state, epoch: news.epoch, until, formerLog: isNewLog ? log : known?.formerLog }
}

function isOlder(epoch: Epoch | undefined, known: Presence): boolean {
  if (epoch === undefined || known.epoch === undefined) return false
  if (epoch.log !== known.epoch.log) return epoch.log === known.formerLog
  const { boot, connection } = known.epoch
  return epoch.boot < boot || (epoch.boot === boot && epoch.connection < connection)
}

export function propertyOf(userProperties: UserProperties | undefined, name: string): string | undefined {
  return userProperties?.find(([key]) => key === name)?.[1]
}
