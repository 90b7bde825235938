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
  const text = findValue(userProperties, numberProperty)
  if (text === undefined) return undefined
  const epochEnd = text.indexOf('.')
  const laneEnd = text.indexOf('.', epochEnd + 1)
  const seqEnd = text.indexOf('.', laneEnd + 1)
  if (epochEnd < 1 || epochEnd > 32 || laneEnd < 0 || seqEnd < 0) return undefined
  for (let i = 0; i < epochEnd; i++) if (!isHexDigit(text.charCodeAt(i))) return undefined
  const lane = readDecimal(text, epochEnd + 1, laneEnd, 3)
  const seq = readDecimal(text, laneEnd + 1, seqEnd, 15)
  const previous = readDecimal(text, seqEnd + 1, text.length, 15)
  if (lane < 0 || seq < 0 || previous < 0) return undefined
  return { epoch: text.slice(0, epochEnd), lane, seq, previous }
}

function findValue(userProperties: UserProperties | undefined, name: string): string | undefined {
  if (userProperties === undefined) return undefined
  for (let i = 0; i < userProperties.length; i++) {
    const pair = userProperties[i] as UserProperties[number]
    if (pair[0] === name) return pair[1]
  }
  return undefined
}

function isHexDigit(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66)
}

/** The number in `text[start..end)`; -1 when that is none of at most `digitsMax` digits. */
function readDecimal(text: string, start: number, end: number, digitsMax: number): number {
  if (end <= start || end - start > digitsMax) return -1
  let value = 0
  for (let i = start; i < end; i++) {
    const digit = text.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) return -1
    value = value * 10 + digit
  }
  return value
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
  let others: UserProperties[number][] | undefined
  for (let i = 0; i < userProperties.length; i++) {
    const pair = userProperties[i] as UserProperties[number]
    if (pair[0] === numberProperty || pair[0] === skipProperty) continue
    if (others === undefined) others = [pair]
    else others.push(pair)
  }
  return others
}
