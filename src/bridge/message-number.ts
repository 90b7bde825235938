/**
 * The number that a gateway's broker gives each message it forwards, as a user property: `epoch.lane.seq`. The epoch
 * is the identity of the log it was counted in; seqs of one epoch and lane only rise. Other brokers see one more
 * user property and pass it on.
 */
import type { Mark } from '../ports/store.ts'
import type { UserProperties } from '../protocol/packet.ts'

export const numberProperty = 'x-b-seq'

/** The lane of everything, while there is one log. */
export const onlyLane = 0

export interface MessageNumber extends Mark {
  readonly lane: number
}

/** @example formatNumber({ epoch: '9f3c', lane: 0, seq: 41 }) // '9f3c.0.41' */
export function formatNumber(number: MessageNumber): string {
  return `${number.epoch}.${number.lane}.${number.seq}`
}

/** The first number among `userProperties`; undefined when there is none that can be read. */
export function findNumber(userProperties: UserProperties | undefined): MessageNumber | undefined {
  const text = userProperties?.find(([name]) => name === numberProperty)?.[1]
  const match = text === undefined ? null : /^([0-9a-f]{1,32})\.(\d{1,3})\.(\d{1,15})$/.exec(text)
  if (match === null) return undefined
  return { epoch: match[1] as string, lane: Number(match[2]), seq: Number(match[3]) }
}
