/** What the settings promise, and for how long: the part of the doctor that only calculates. */
import type { Durability } from '../../config/durability.ts'
import { type Settings, safestDurability } from '../../config/settings.ts'
import { longestWaitMs } from '../../lib/flash-wear.ts'
import { durationText, type Finding } from './finding.ts'

/** What a message costs in the file beside its topic and payload, in bytes: measured, rounded up. */
const rowBytes = 60

/** How full pages are when messages come one after the other. */
const pageUse = 0.85

export interface Traffic {
  /** Messages that are stored. */
  readonly perSecond: number
  /** Topic, payload and properties. */
  readonly bytesEach: number
}

export function survival(settings: Settings): Finding[] {
  const { store } = settings
  const kept = 'QoS 1 and 2, for sessions that are kept and for bridges'
  const crash = {
    disk: `an acknowledged message (${kept}) survives a crash of the broker: it is acknowledged once it is on the disk`,
    os: `an acknowledged message (${kept}) survives a crash of the broker`,
    ram: 'what was acknowledged in the last moments does not survive a crash of the broker: store.durability is "ram"',
  }
  const powerCut = {
    disk: 'it survives a power cut as well, as far as the disk tells the truth about what it has written',
    os: 'a power cut may take what was acknowledged in the last half minute: store.durability is "os"',
    ram: 'a power cut may take what was acknowledged in the last half minute: store.durability is "ram"',
  }
  const nothing = 'nothing survives the end of the broker: every durability is "ram", so no file is written'
  const isKept = safestDurability(settings) !== 'ram'
  const state = store.durability === 'disk' ? 'ok' : 'warn'
  return [
    {
      topic: 'crash',
      state: store.durability === 'ram' ? 'warn' : 'ok',
      text: isKept ? crash[store.durability] : nothing,
    },
    { topic: 'power cut', state, text: isKept ? powerCut[store.durability] : nothing },
    ...exceptions(settings),
    { topic: 'QoS 0', state: 'note', text: 'messages with QoS 0 are never kept for clients that are away' },
  ]
}

/** Lanes and rules that keep messages more or less safely than the rest. */
function exceptions({ lane, topic, store }: Settings): Finding[] {
  const survives: Record<Durability, string> = {
    disk: 'acknowledged messages survive a crash and a power cut',
    os: 'acknowledged messages survive a crash of the broker; a power cut may take those of the last half minute',
    ram: 'messages are acknowledged at once; a crash may take those of the last moments, a power cut those of the last half minute',
  }
  const lanes = Object.entries(lane).filter(([, { durability }]) => durability !== store.durability)
  const rules = topic.filter((rule) => rule.durability !== undefined && rule.durability !== lane[rule.lane].durability)
  return [
    ...lanes.map(([name, { durability }]) => ({ name: `lane ${name}`, durability })),
    ...rules.map(({ filter, durability = 'disk' }) => ({ name: filter, durability })),
  ].map(({ name, durability }) => ({ topic: name, state: 'note', text: survives[durability] }))
}

/** How long clients and bridges may be away before something is dropped. @param freeBytes of the disk */
export function endurance(settings: Settings, traffic: Traffic, freeBytes: number): Finding {
  const { backlogBytesMax, backlogCountMax, freeBytesMin } = settings.store
  const byBytes = backlogBytesMax / traffic.bytesEach
  const diskBytes = Math.max(0, freeBytes - freeBytesMin)
  const byDisk =
    safestDurability(settings) === 'ram' ? Number.POSITIVE_INFINITY : diskBytes / fileBytes(traffic.bytesEach)
  const count = Math.min(byBytes, backlogCountMax, byDisk)
  const bound =
    count === byDisk ? 'free space' : count === byBytes ? 'store.backlog_bytes_max' : 'store.backlog_count_max'
  const rate = `${trimmed(traffic.perSecond)} msg/s of ${Math.round(traffic.bytesEach)} B`
  const seconds = count / traffic.perSecond
  return {
    topic: 'offline',
    state: bound === 'free space' ? 'warn' : 'note',
    text: `at ${rate} clients and bridges can be away for ${durationText(seconds)} (${bound})`,
  }
}

/** Bytes of a message in the file. */
export function fileBytes(bytesEach: number): number {
  return (bytesEach + rowBytes) / pageUse
}

/** What a flash card is taken to bear. Cheap ones bear less, industrial ones ten times more. */
export const card = { bytes: 32e9, cycles: 1000, amplification: 3 } as const

/** @param bytesPerDay what the broker writes @param waitMs messages wait so long for it; undefined when not known */
export function wear(bytesPerDay: number, isMeasured: boolean, waitMs?: number): Finding {
  const { bytes, cycles, amplification } = card
  const days = (bytes * cycles) / (bytesPerDay * amplification)
  const years = days / 365
  const basis = `a card of ${bytes / 1e9} GB, ${cycles} cycles, ${amplification} bytes written inside for each one`
  const isShort = years < 5
  const cure = isShort
    ? '; a longer store.commit_wait_ms_max writes less, if store.flash_budget_mb_per_day asks for it'
    : ''
  const wait = waitMs === undefined ? '' : `, for which messages wait ${Math.round(waitMs)} ms`
  return {
    topic: 'wear',
    state: isShort ? 'warn' : 'note',
    text: `${isMeasured ? 'it writes' : 'it would write'} about ${Math.round(bytesPerDay / 1e6)} MB a day${wait}; ${basis}: ${durationText(days * 86_400)}${cure}`,
  }
}

export interface Wear {
  readonly bytesPerDay: number
  /** How long a commit gathers. */
  readonly waitMs: number
}

/** What is written at a steady rate, once the budget has settled (adapters/store-sqlite/flash-budget.ts). */
export function expectedWear(traffic: Traffic, store: Settings['store']): Wear {
  const { commitIntervalMs, commitWaitMsMax, flashBudgetMbPerDay } = store
  const budget = flashBudgetMbPerDay === 0 ? Number.POSITIVE_INFINITY : flashBudgetMbPerDay * 1e6
  const longestMs = longestWaitMs((traffic.perSecond * traffic.bytesEach) / 1000, budget, commitWaitMsMax)
  let waitMs = commitIntervalMs
  while (waitMs < longestMs && writtenPerDay(traffic, waitMs) > budget) waitMs++
  return { bytesPerDay: writtenPerDay(traffic, waitMs), waitMs }
}

/**
 * Bytes written in a day at a steady rate: with each commit the pages it touches go to the write-ahead log, where they
 * begin and end inside a block of the file system, and later once more to the file.
 */
export function writtenPerDay({ perSecond, bytesEach }: Traffic, commitIntervalMs: number): number {
  const commitsPerSecond = Math.min(perSecond, 1000 / Math.max(1, commitIntervalMs))
  const pagesPerCommit = 1 + ((perSecond / commitsPerSecond) * fileBytes(bytesEach)) / blockBytes
  const tidyBytesPerSecond = (tidyPages * frameBytes) / 10
  const commitBytes = pagesPerCommit * frameBytes + blockBytes
  return 86_400 * (commitsPerSecond * commitBytes + tidyBytesPerSecond + perSecond * fileBytes(bytesEach))
}

/** A page in the write-ahead log. */
const frameBytes = 4120

const blockBytes = 4096

/** Cursors, trims and timeline, every ten seconds: `npm run bench:store`. */
const tidyPages = 3

/** @example trimmed(0.25) // '0.3' */
function trimmed(value: number): string {
  return value >= 10 ? String(Math.round(value)) : String(Number(value.toFixed(1)))
}
