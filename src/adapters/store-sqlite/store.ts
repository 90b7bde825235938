/**
 * The Store port on one SQLite file (ports/store.ts says what it promises). This file puts the parts together:
 * the log (message-log.ts), the batches of writes (batch.ts), their rhythm (group-commit.ts), the tables (schema.ts).
 * Commits have one connection and reads another, so that a read never waits for the disk to take a commit.
 */
import { Failure } from '../../lib/errors.ts'
import type { SystemClock, Timer } from '../../ports/clock.ts'
import type { DelayStore } from '../../ports/delays.ts'
import { lanes } from '../../ports/lane.ts'
import type { LedgerStore } from '../../ports/ledger.ts'
import type { Log } from '../../ports/log.ts'
import type { Random } from '../../ports/random.ts'
import { SoleClaims } from '../../ports/sole-claims.ts'
import type {
  Damage,
  Durability,
  MarkStore,
  Qos2Inbox,
  RetainedStore,
  Seq,
  SessionStore,
  Store,
  StoreLoader,
  StoreOwner,
  Ticket,
} from '../../ports/store.ts'
import { Batch, type Join } from './batch.ts'
import { CommitPace } from './commit-pace.ts'
import type { CommitWriter } from './commit-writer.ts'
import { type Connection, isSqliteError, type SqliteError } from './connection.ts'
import { FileSize } from './file-size.ts'
import { FileWatch, writtenByProcess } from './file-watch.ts'
import { FlashBudget } from './flash-budget.ts'
import { GroupCommit } from './group-commit.ts'
import { loadRecords } from './load.ts'
import type { Lock } from './lock.ts'
import { type LogExtent, type LogStatements, SqliteMessageLog } from './message-log.ts'
import { recordStores } from './record-stores.ts'
import { isDamage } from './salvage.ts'
import { pageBytes } from './schema.ts'
import { SpaceGuard } from './space-guard.ts'

/**
 * How long the file may hold what was trimmed, and how far the timeline is written ahead. Both cost pages beside those of
 * messages, so they join a group commit no more often, unless there is much to trim.
 */
const tidyMs = 10_000

/** Trimming makes a commit longer, so one that is urgent leaves it to others; but after so long it does that, too. */
const untrimmedMsMax = 100

/** Whether the files are still there, and how much space is left, is looked at no more often. */
const lookIntervalMs = 1000

/** Seqs are set aside in such runs before messages get them that a power cut may take. */
const seqsAhead = 65_536

export interface SqliteStoreOptions {
  /** The database file; its directory is made when it is missing. */
  readonly path: string
  /** What sessions and all else survive that does not say so itself: no less than the safest of the messages. */
  readonly durability: Durability
  /** How long a write may wait for others to share its commit, in ms; 0 = until the end of the turn. */
  readonly commitIntervalMs: number
  /** Writes that are not urgent wait for others for the sake of the flash; undefined = they do not. */
  readonly flashBudget?: { readonly bytesPerDay: number; readonly waitMsMax: number } | undefined
  /** Space on the disk that is left to others; 0 without it. */
  readonly freeBytesMin?: number
  /** The same as a share of the disk, in percent. */
  readonly freePercentMin?: number
  /** The file does not grow beyond this; commits fail with ERR_STORE_FULL instead. */
  readonly sizeBytesMax?: number | undefined
  readonly clock: SystemClock
  readonly random: Random
  readonly log: Log
}

/** What `openSqliteStore` has opened. */
export interface Opened {
  readonly files: StoreFiles
  /** undefined while the store cannot be written. */
  readonly lock: Lock | undefined
  /** Set while nothing can be written: `files` are only read, or stand in for a store that is not there yet. */
  readonly absence: Absence | undefined
  /** What was wrong with the file. */
  readonly damage: Damage | undefined
}

export interface StoreParts extends Opened {
  /** Closes the files, puts what was damaged or deleted in order, and opens them anew. Rejects when it cannot. */
  readonly replaceFiles: (old: OldFiles) => Promise<{ files: StoreFiles; damage: Damage }>
}

export interface Absence {
  /** Why nothing can be written. */
  readonly error: SqliteError
  /**
   * Opens the store where it belongs and closes what was there. Rejects with a Failure as long as that cannot be done;
   * when it fails half-way, what it answers has an absence, too.
   */
  readonly end: () => Promise<Opened>
}

export interface OldFiles {
  readonly files: StoreFiles
  /** They were deleted; otherwise they are damaged. */
  readonly isGone: boolean
}

export interface StoreFiles {
  readonly writer: Connection
  readonly reader: Connection
  readonly epoch: string
  readonly extent: LogExtent
  readonly commits: CommitWriter
  readonly logStatements: LogStatements
}

export class SqliteStore implements Store {
  readonly log: SqliteMessageLog
  readonly sessions: SessionStore
  readonly inbox: Qos2Inbox
  readonly retained: RetainedStore
  readonly marks: MarkStore
  readonly ledger: LedgerStore
  readonly delays: DelayStore
  readonly #parts: StoreParts
  #files: StoreFiles
  #lock: Lock | undefined
  #absence: Absence | undefined
  readonly #path: string
  readonly #watch: FileWatch
  readonly #space: SpaceGuard
  readonly #clock: SystemClock
  readonly #commits: GroupCommit
  readonly #claims = new SoleClaims()
  readonly #log: Log
  readonly #fileSize = new FileSize()
  #isShrinkDue = false
  #trimTimer: Timer | undefined
  #trimmedSeq: Seq
  #trimmedAtMs = Number.NEGATIVE_INFINITY
  #nextTidyMs = Number.NEGATIVE_INFINITY
  #closed: Promise<void> | undefined
  #owner: StoreOwner | undefined
  /** The file says that no seq up to here is to be given out once more, should the power fail. */
  #seqCeiling: Seq
  /** A statement met damage. */
  #isDamaged = false
  #nextLookMs = Number.NEGATIVE_INFINITY
  readonly #pace = new CommitPace()
  readonly #budget: FlashBudget | undefined

  constructor(parts: StoreParts, options: SqliteStoreOptions) {
    this.#parts = parts
    this.#files = parts.files
    this.#lock = parts.lock
    this.#absence = parts.absence
    this.#path = options.path
    this.#watch = new FileWatch(options.path)
    this.#space = new SpaceGuard({
      path: options.path,
      freeBytesMin: options.freeBytesMin ?? 0,
      freePercentMin: options.freePercentMin ?? 0,
      clock: options.clock,
      watch: this.#watch,
      spareBytes: () => this.#spareBytes(),
      onShort: (failure) => this.#owner?.onFailure(failure),
      onEnough: () => {
        if (this.#commits.isWritable) this.#owner?.onRecovered()
      },
    })
    this.#clock = options.clock
    this.#log = options.log
    this.#trimmedSeq = parts.files.extent.trimmedSeq
    this.#seqCeiling = parts.files.extent.seqCeiling
    const { commitIntervalMs, flashBudget } = options
    const budget = flashBudget && new FlashBudget({ ...flashBudget, waitMsMin: commitIntervalMs })
    this.#budget = budget
    const commits = new GroupCommit({
      path: options.path,
      patienceMs: () => budget?.waitMs ?? commitIntervalMs,
      clock: options.clock,
      mend: () => this.#mend(),
      write: (batch) => this.#write(batch),
      makeRoom: () => this.#makeRoom(),
    })
    const waitMsMax = { none: Number.POSITIVE_INFINITY, soon: commitIntervalMs, now: 0 }
    const join: Join = (durability = options.durability, haste = 'none') => {
      const batch = commits.join(waitMsMax[haste])
      if (durability === 'disk') batch.isSynced = true
      return batch
    }
    this.#commits = commits
    const { extent, logStatements } = parts.files
    this.log = new SqliteMessageLog(options.path, extent, logStatements, join, {
      trim: () => this.#trimSoon(),
      readError: (error) => this.#onReadError(error),
    })
    const records = recordStores(join, this.#claims)
    this.sessions = records.sessions
    this.inbox = records.inbox
    this.retained = records.retained
    this.marks = records.marks
    this.delays = records.delays
    this.ledger = records.ledger
  }

  get lastTicket(): Ticket {
    return this.#commits.lastTicket
  }

  get durableTicket(): Ticket {
    return this.#commits.durableTicket
  }

  get isWritable(): boolean {
    return this.#commits.isWritable && !this.#space.isShort
  }

  follow(): Ticket {
    return 0
  }

  unfollow(): void {
    // Everything that is published comes through this process.
  }

  bind(owner: StoreOwner): void {
    this.#owner = owner
    this.#commits.owner = {
      beforeCommit: () => owner.beforeCommit?.(),
      onDurable: (ticket) => {
        owner.onDurable(ticket)
        this.log.forgetOldest()
      },
      onFailure: (failure) => owner.onFailure(failure),
      onRecovered: () => {
        if (!this.#space.isShort) owner.onRecovered()
      },
    }
  }

  async load(loader: StoreLoader): Promise<void> {
    if (this.#parts.damage !== undefined) loader.onDamage?.(this.#parts.damage)
    loader.onEpoch(this.#files.epoch)
    await loadRecords(this.#files.reader, {
      onSession: (record) => {
        this.#claims.save(record.clientId, record.epoch)
        loader.onSession(record)
      },
      onInbox: (clientId, packetId) => loader.onInbox(clientId, packetId),
      onRetained: (publish) => loader.onRetained(publish),
      onMark: (key, mark) => loader.onMark(key, mark),
      onLoss: (record) => loader.onLoss(record),
      onDelay: (record) => loader.onDelay(record),
    })
    // A commit finds out, says so, and is tried again until the store is there.
    if (this.#absence !== undefined) this.#commits.join()
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#trimTimer?.cancel()
    this.#space.stop()
    try {
      await this.#commits.close()
      await this.#write(new Batch(0), 'last')
    } finally {
      await this.#files.reader.close()
      await this.#files.writer.close()
      await this.#lock?.release()
    }
  }

  /** @param occasion after the `last`, the next run takes up the timeline and the seqs where they stand */
  async #write(batch: Batch, occasion: 'batch' | 'room' | 'last' = 'batch'): Promise<SqliteError | undefined> {
    if (this.#absence !== undefined) return this.#absence.error
    const isLast = occasion === 'last'
    const timeline = this.#clock.timeline()
    const startedMs = this.#clock.nowMs()
    const canTrim = batch.waitMsMax > 0 || startedMs >= this.#trimmedAtMs + untrimmedMsMax
    const isTrimDue = this.log.isTrimBehind && canTrim
    const isTidyDue = occasion !== 'batch' || timeline.lastMs >= this.#nextTidyMs || isTrimDue
    const trims = isTidyDue ? this.log.nextTrims : undefined
    const meta: [key: string, value: string | number][] = []
    if (trims !== undefined) {
      this.#trimmedAtMs = startedMs
      this.#trimmedSeq = Math.max(this.#trimmedSeq, ...trims.map((seq) => seq ?? 0))
      meta.push(['trimmed_to', this.#trimmedSeq])
    }
    const lastMs = timeline.lastMs + (isLast ? 0 : tidyMs)
    if (isTidyDue) meta.push(['timeline', JSON.stringify({ ...timeline, lastMs })])
    const { lastSeq = 0 } = batch
    const isCeilingDue = isLast || (!batch.isSynced && lastSeq > this.#seqCeiling)
    const seqCeiling = isLast ? 0 : lastSeq + seqsAhead
    if (isCeilingDue) meta.push(['seq_ceiling', seqCeiling])
    const values = [
      ...lanes.map((lane) => trims?.[lane] ?? null),
      ...batch.values,
      meta.length === 0 ? null : JSON.stringify(meta),
    ]
    const error = await this.#files.commits.write(values, batch.isSynced || isCeilingDue)
    const slowness = this.#pace.add(this.#clock.nowMs() - startedMs)
    if (slowness !== undefined) this.#owner?.onSlow?.(slowness.durationMs)
    if (error !== undefined) {
      if (isDamage(error)) this.#isDamaged = true
      return error
    }
    if (isTidyDue) this.#nextTidyMs = lastMs
    if (isCeilingDue) this.#seqCeiling = seqCeiling
    this.log.onCommitted(batch.lastSeq, trims)
    if (trims !== undefined && this.log.nextTrims === undefined) void this.#lookAtSize()
    this.#trimSoon()
    return undefined
  }

  /** Before each write. What cannot be put in order now is tried again before the next one. */
  async #mend(): Promise<void> {
    if (this.#absence !== undefined) {
      await this.#endAbsence(this.#absence)
      return
    }
    if (this.#isShrinkDue && !this.#isDamaged) await this.#shrink()
    const nowMs = this.#clock.nowMs()
    const isLookDue = nowMs >= this.#nextLookMs
    if (!isLookDue && !this.#isDamaged) return
    if (this.#nextLookMs === Number.NEGATIVE_INFINITY) await this.#watch.begin()
    this.#nextLookMs = nowMs + lookIntervalMs
    await this.#space.look()
    if (this.#budget !== undefined) {
      const writtenBytes = await writtenByProcess()
      if (writtenBytes !== undefined) this.#budget.observe(writtenBytes, this.log.appendedBytes, nowMs)
    }
    const isGone = !this.#isDamaged && (await this.#watch.isGone())
    if (!isGone && !this.#isDamaged) return
    try {
      const { files, damage } = await this.#parts.replaceFiles({ files: this.#files, isGone })
      this.#files = files
      this.log.readFrom(files.logStatements)
      await this.#watch.begin()
      this.#isDamaged = false
      this.#owner?.onDamage?.(limited(damage, this.log.durableSeq))
    } catch (error) {
      if (!isSqliteError(error) && !(error instanceof Error && 'syscall' in error)) throw error
      this.#isDamaged ||= !isGone
    }
  }

  async #endAbsence(absence: Absence): Promise<void> {
    try {
      const opened = await absence.end()
      this.#files = opened.files
      this.#lock = opened.lock
      this.#absence = opened.absence
      this.log.readFrom(opened.files.logStatements)
      if (opened.damage !== undefined) this.#owner?.onDamage?.(limited(opened.damage, this.log.durableSeq))
    } catch (error) {
      if (!(error instanceof Failure)) throw error
    }
  }

  #onReadError(error: SqliteError): void {
    if (!isDamage(error) || this.#isDamaged || this.#closed !== undefined) return
    this.#isDamaged = true
    this.#commits.join()
  }

  async #spareBytes(): Promise<number> {
    const [row] = await this.#files.reader.rows<{ freelist_count: number }>('PRAGMA freelist_count').catch(() => [])
    return (row?.freelist_count ?? 0) * pageBytes
  }

  async #makeRoom(): Promise<boolean> {
    return this.log.nextTrims !== undefined && (await this.#write(new Batch(0), 'room')) === undefined
  }

  /** Everything was trimmed that can be: between two commits the file may become smaller. */
  async #lookAtSize(): Promise<void> {
    const isWasteful = await this.#fileSize.isWasteful(this.#files.reader, this.#clock.nowMs()).catch(() => false)
    if (!isWasteful || this.#closed !== undefined) return
    this.#isShrinkDue = true
    this.#commits.join()
  }

  async #shrink(): Promise<void> {
    this.#isShrinkDue = false
    try {
      await this.#fileSize.shrink(this.#files.writer, this.#clock.nowMs())
      this.#log.info({ path: this.#path }, 'store gave room on the disk back')
    } catch (error) {
      if (!isSqliteError(error)) throw error
      this.#log.warn({ path: this.#path, err: error.message }, 'store cannot give room on the disk back')
    }
  }

  #trimSoon(): void {
    if (this.#closed !== undefined || this.#trimTimer !== undefined || this.log.nextTrims === undefined) return
    this.#trimTimer = this.#clock.after(this.log.isTrimBehind ? 0 : tidyMs, () => {
      this.#trimTimer = undefined
      if (this.log.nextTrims !== undefined) this.#commits.join()
    })
  }
}

/** A hole ends where the log ended. */
function limited(damage: Damage, durableSeq: Seq): Damage {
  return { ...damage, holes: damage.holes.map((hole) => ({ ...hole, lastSeq: Math.min(hole.lastSeq, durableSeq) })) }
}
