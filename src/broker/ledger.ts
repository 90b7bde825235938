/**
 * The account of every deliberate drop (ports/ledger.ts says of which). Drops of one kind that follow one another
 * are one record; old records are put together, so that the ledger stays small and its sums stay true.
 *
 * A drop is written at once, so it stands in the store no later than the cursor that passes it.
 */
import type { Clock } from '../ports/clock.ts'
import { type LedgerStore, type LossReason, type LossRecord, manyScope } from '../ports/ledger.ts'
import type { Seq } from '../ports/store.ts'

const recordCountMax = 256

/** A drop that comes later than this after the last one of its kind begins a new record. */
const pauseMsMax = 60_000

/** The summary is published no more often. */
const tellIntervalMs = 5000

/** Records in the summary, the latest. */
const toldCountMax = 20

export interface Drop {
  readonly reason: LossReason
  /** Client id, or a scope of ports/ledger.ts. */
  readonly scope: string
  readonly lane: number
  readonly firstSeq: Seq
  readonly lastSeq: Seq
  /** undefined when it is not known. */
  readonly count: number | undefined
}

export interface LossSummary {
  /** Of all drops whose number is known. */
  readonly count: number
  readonly countByReason: Readonly<Record<string, number>>
  /** Oldest first. */
  readonly records: readonly LossRecord[]
}

export class Ledger {
  readonly #store: LedgerStore
  readonly #clock: Clock
  /** By number, and so by age of the first drop. */
  readonly #records = new Map<number, LossRecord>()
  /** The record that a drop of this kind may join. */
  readonly #latest = new Map<string, LossRecord>()
  #epoch = ''
  #nextNumber = 1
  #nextTellMs = Number.NEGATIVE_INFINITY
  #isTold = true

  /** Told of every drop. */
  onDrop: ((drop: Drop) => void) | undefined

  constructor(store: LedgerStore, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  restoreEpoch(epoch: string): void {
    this.#epoch = epoch
  }

  restore(record: LossRecord): void {
    this.#records.set(record.number, record)
    this.#latest.set(kindOf(record), record)
    this.#nextNumber = Math.max(this.#nextNumber, record.number + 1)
    this.#isTold = false
  }

  /** The store was replaced by another one. */
  saveAll(): void {
    for (const record of this.#records.values()) this.#store.put(record)
  }

  /** One message that `scope` does not get. */
  dropped(reason: LossReason, scope: string, lane: number, seq: Seq): void {
    this.droppedRange({ reason, scope, lane, firstSeq: seq, lastSeq: seq, count: 1 })
  }

  droppedRange(drop: Drop): void {
    this.onDrop?.(drop)
    const nowMs = this.#clock.wallMs()
    const latest = this.#latestOf(drop)
    const record: LossRecord =
      latest !== undefined && this.#continues(latest, drop, nowMs)
        ? { ...joined(latest, drop), untilMs: nowMs }
        : { ...drop, number: this.#nextNumber++, epoch: this.#epoch, sinceMs: nowMs, untilMs: nowMs }
    this.#keep(record)
    while (this.#records.size > recordCountMax) this.#putTogether()
  }

  summary(): LossSummary {
    const countByReason: Record<string, number> = {}
    let count = 0
    for (const record of this.#records.values()) {
      countByReason[record.reason] = (countByReason[record.reason] ?? 0) + (record.count ?? 0)
      count += record.count ?? 0
    }
    return { count, countByReason, records: [...this.#records.values()] }
  }

  /** The summary as it is published, when it has changed and it is time; undefined otherwise. */
  dueSummary(nowMs: number): string | undefined {
    if (this.#isTold || nowMs < this.#nextTellMs) return undefined
    this.#isTold = true
    this.#nextTellMs = nowMs + tellIntervalMs
    const { records, ...sums } = this.summary()
    return JSON.stringify({ ...sums, records: records.slice(-toldCountMax) })
  }

  /** When there are many sessions, those that are new to a full ledger share a record. */
  #latestOf(drop: Drop): LossRecord | undefined {
    const latest = this.#latest.get(kindOf(drop))
    if (latest !== undefined || this.#records.size < recordCountMax) return latest
    return this.#latest.get(kindOf({ ...drop, scope: manyScope }))
  }

  #continues(latest: LossRecord, drop: Drop, nowMs: number): boolean {
    return (
      latest.epoch === this.#epoch &&
      isCounted(latest) === isCounted(drop) &&
      Math.abs(nowMs - latest.untilMs) <= pauseMsMax
    )
  }

  #keep(record: LossRecord): void {
    this.#records.set(record.number, record)
    this.#latest.set(kindOf(record), record)
    this.#store.put(record)
    this.#isTold = false
  }

  #forget(record: LossRecord): void {
    this.#records.delete(record.number)
    if (this.#latest.get(kindOf(record))?.number === record.number) this.#latest.delete(kindOf(record))
    this.#store.remove(record.number)
  }

  /**
   * Makes one record of the oldest and a later one with its reason, of the same log if there is one; across logs the
   * range is lost. There are fewer reasons than records, so two are found.
   */
  #putTogether(): void {
    const records = [...this.#records.values()]
    for (const oldest of records) {
      const later = records.filter(
        (other) =>
          other.number > oldest.number && other.reason === oldest.reason && isCounted(other) === isCounted(oldest),
      )
      const next = later.find(({ epoch }) => epoch === oldest.epoch) ?? later[0]
      if (next === undefined) continue
      this.#forget(oldest)
      this.#forget(next)
      const both = joined(next, next.epoch === oldest.epoch ? oldest : { ...oldest, firstSeq: 0 })
      const scope = next.scope === oldest.scope ? next.scope : manyScope
      this.#keep({ ...both, scope, sinceMs: oldest.sinceMs })
      return
    }
  }
}

/** Both are counted, or both are not. */
function joined(record: LossRecord, drop: Pick<Drop, 'firstSeq' | 'lastSeq' | 'count'>): LossRecord {
  const isRangeKnown = record.firstSeq > 0 && drop.firstSeq > 0
  return {
    ...record,
    firstSeq: isRangeKnown ? Math.min(record.firstSeq, drop.firstSeq) : 0,
    lastSeq: isRangeKnown ? Math.max(record.lastSeq, drop.lastSeq) : 0,
    count: record.count === undefined ? undefined : record.count + (drop.count ?? 0),
  }
}

function isCounted({ count }: Pick<Drop, 'count'>): boolean {
  return count !== undefined
}

function kindOf({ reason, scope, lane }: Pick<Drop, 'reason' | 'scope' | 'lane'>): string {
  return `${reason} ${lane} ${scope}`
}
