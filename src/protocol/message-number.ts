/**
 * The number that one Tidegate gives each message it sends another, as a user property: `epoch.lane.seq.previous`. The
 * epoch is the identity of the log it was counted in; seqs of one epoch and lane only rise. `previous` is the message
 * sent, or dropped on purpose, before this one: what lies between was never meant for the receiver, and what the
 * receiver misses up to there is a gap. A second property says which messages before this one were dropped, and why.
 *
 * Other brokers see one more user property and pass it on.
 */
import type { UserProperties } from './packet.ts'

export const numberProperty = 'x-b-seq'
export const skipProperty = 'x-b-skip'

export interface MessageNumber {
  readonly epoch: string
  readonly lane: number
  readonly seq: number
  /** 0 = not known. */
  readonly previous: number
}

/** Messages that were dropped on purpose, and so will never come. */
export interface Skip {
  readonly firstSeq: number
  readonly lastSeq: number
  readonly count: number
  readonly reason: string
}

/** @example formatNumber({ epoch: '9f3c', lane: 0, seq: 41, previous: 40 }) // '9f3c.0.41.40' */
export function formatNumber({ epoch, lane, seq, previous }: MessageNumber): string {
  return `${epoch}.${lane}.${seq}.${previous}`
}

/** The first number among `userProperties`; undefined when there is none that can be read. */
export function findNumber(userProperties: UserProperties | undefined): MessageNumber | undefined {
  const text = userProperties?.find(([name]) => name === numberProperty)?.[1]
  const match = text === undefined ? null : /^([0-9a-f]{1,32})\.(\d{1,3})\.(\d{1,15})\.(\d{1,15})$/.exec(text)
  if (match === null) return undefined
  return { epoch: match[1] as string, lane: Number(match[2]), seq: Number(match[3]), previous: Number(match[4]) }
}

/** @example formatSkip({ firstSeq: 6, lastSeq: 9, count: 3, reason: 'expired' }) // '6-9.3.expired' */
export function formatSkip({ firstSeq, lastSeq, count, reason }: Skip): string {
  return `${firstSeq}-${lastSeq}.${count}.${reason}`
}

/** Every skip among `userProperties` that can be read. */
export function findSkips(userProperties: UserProperties | undefined): readonly Skip[] {
  const skips: Skip[] = []
  for (const [name, text] of userProperties ?? []) {
    const match = name === skipProperty ? /^(\d{1,15})-(\d{1,15})\.(\d{1,15})\.([a-z_]{1,32})$/.exec(text) : null
    if (match === null) continue
    const [, firstSeq, lastSeq, count, reason = ''] = match
    skips.push({ firstSeq: Number(firstSeq), lastSeq: Number(lastSeq), count: Number(count), reason })
  }
  return skips
}

/** Without what this file knows; undefined when nothing is left. */
export function withoutNumber(userProperties: UserProperties): UserProperties | undefined {
  const others = userProperties.filter(([name]) => name !== numberProperty && name !== skipProperty)
  return others.length === 0 ? undefined : others
}
