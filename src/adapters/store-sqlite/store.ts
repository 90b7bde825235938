/**
 * The Store port on one SQLite file (ports/store.ts says what it promises). This file puts the parts together:
 * the log (message-log.ts), the batches of writes (batch.ts), their rhythm (group-commit.ts), the tables (schema.ts).
 * Commits have one connection and reads another, so that a read never waits for the disk to take a commit.
 */
import type { SystemClock, Timer } from '../../ports/clock.ts'
import { lanes } from '../../ports/lane.ts'
import type { LedgerStore } from '../../ports/ledger.ts'
import type { Log } from '../../ports/log.ts'
import type { Random } from '../../ports/random.ts'
import type {
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
import { Batch } from './batch.ts'
import type { Connection, SqliteError, Statement } from './connection.ts'
import { GroupCommit } from './group-commit.ts'
import { loadRecords } from './load.ts'
import type { Lock } from './lock.ts'
import { type LogExtent, type LogStatements, SqliteMessageLog } from './message-log.ts'

/** Trimming waits this long for a group commit to join, then makes its own. */
const trimDelayMs = 1000

/** The timeline is written ahead by this much, and so at most this often. */
const timelineStepMs = 1000

export interface SqliteStoreOptions {
  /** The database file; its directory is made when it is missing. */
  readonly path: string
  /** What durable means: `disk` survives a power cut, `os` survives the end of the process. */
  readonly durability: 'disk' | 'os'
  /** How long a write may wait for others to share its commit, in ms; 0 = until the end of the turn. */
  readonly commitIntervalMs: number
  /** The file does not grow beyond this; commits fail with ERR_STORE_FULL instead. */
  readonly sizeBytesMax?: number | undefined
  readonly clock: SystemClock
  readonly random: Random
  readonly log: Log
}

/** What `openSqliteStore` has opened. */
export interface StoreParts {
  readonly writer: Connection
  readonly reader: Connection
  readonly lock: Lock
  readonly epoch: string
  readonly extent: LogExtent
  /** `groupCommitInsert` of schema.ts. */
  readonly insert: Statement<never>
  readonly logStatements: LogStatements
}

export class SqliteStore implements Store {
  readonly log: SqliteMessageLog
  readonly sessions: SessionStore
  readonly inbox: Qos2Inbox
  readonly retained: RetainedStore
  readonly marks: MarkStore
  readonly ledger: LedgerStore
  readonly #parts: StoreParts
  readonly #clock: SystemClock
  readonly #commits: GroupCommit
  /** Epochs of the stored sessions, and so also which there are. */
  readonly #sessionEpochs = new Map<string, number>()
  #trimTimer: Timer | undefined
  #trimmedSeq: Seq
  /** The timeline is known in the file to reach up to here. */
  #timelineMs = Number.NEGATIVE_INFINITY
  #closed: Promise<void> | undefined

  constructor(parts: StoreParts, options: SqliteStoreOptions) {
    this.#parts = parts
    this.#clock = options.clock
    this.#trimmedSeq = parts.extent.trimmedSeq
    const commits = new GroupCommit({
      path: options.path,
      intervalMs: options.commitIntervalMs,
      clock: options.clock,
      write: (batch) => this.#write(batch),
      makeRoom: () => this.#makeRoom(),
    })
    const join = (): Batch => commits.join()
    this.#commits = commits
    this.log = new SqliteMessageLog(options.path, parts.extent, parts.logStatements, join, () => this.#trimSoon())
    this.sessions = sessionStore(join, this.#sessionEpochs)
    this.inbox = {
      put: (clientId, packetId) => join().putInbox(clientId, packetId),
      release: (clientId, packetId) => join().releaseInbox(clientId, packetId),
      clear: (clientId) => join().clearInbox(clientId),
    }
    this.retained = {
      set: (publish) => join().setRetained(publish.own()),
      clear: (topic) => join().clearRetained(topic),
    }
    this.marks = { set: (key, mark) => join().setMark(key, mark) }
    this.ledger = {
      put: (record) => join().putLoss(record),
      remove: (number) => join().removeLoss(number),
    }
  }

  get lastTicket(): Ticket {
    return this.#commits.lastTicket
  }

  get durableTicket(): Ticket {
    return this.#commits.durableTicket
  }

  get isWritable(): boolean {
    return this.#commits.isWritable
  }

  bind(owner: StoreOwner): void {
    this.#commits.owner = {
      onDurable: (ticket) => {
        owner.onDurable(ticket)
        this.log.forgetOldest()
      },
      onFailure: (failure) => owner.onFailure(failure),
      onRecovered: () => owner.onRecovered(),
    }
  }

  async load(loader: StoreLoader): Promise<void> {
    loader.onEpoch(this.#parts.epoch)
    await loadRecords(this.#parts.reader, {
      onSession: (record) => {
        this.#sessionEpochs.set(record.clientId, record.epoch)
        loader.onSession(record)
      },
      onInbox: (clientId, packetId) => loader.onInbox(clientId, packetId),
      onRetained: (publish) => loader.onRetained(publish),
      onMark: (key, mark) => loader.onMark(key, mark),
      onLoss: (record) => loader.onLoss(record),
    })
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#trimTimer?.cancel()
    try {
      await this.#commits.close()
      this.#timelineMs = Number.NEGATIVE_INFINITY
      await this.#write(new Batch(0), 0)
    } finally {
      await this.#parts.reader.close()
      await this.#parts.writer.close()
      await this.#parts.lock.release()
    }
  }

  #write(batch: Batch, timelineAheadMs = timelineStepMs): Promise<SqliteError | undefined> {
    const trims = this.log.nextTrims
    const timeline = this.#clock.timeline()
    const meta: [key: string, value: string | number][] = []
    if (trims !== undefined) {
      this.#trimmedSeq = Math.max(this.#trimmedSeq, ...trims.map((seq) => seq ?? 0))
      meta.push(['trimmed_to', this.#trimmedSeq])
    }
    const isTimelineDue = timeline.lastMs > this.#timelineMs
    const lastMs = timeline.lastMs + timelineAheadMs
    if (isTimelineDue) meta.push(['timeline', JSON.stringify({ ...timeline, lastMs })])
    const values = [
      ...lanes.map((lane) => trims?.[lane] ?? null),
      ...batch.values,
      meta.length === 0 ? null : JSON.stringify(meta),
    ]
    return new Promise((resolve) => {
      this.#parts.insert.run(values, (error) => {
        if (error === undefined) {
          if (isTimelineDue) this.#timelineMs = lastMs
          this.log.onCommitted(batch.lastSeq, trims)
          this.#trimSoon()
        }
        resolve(error)
      })
    })
  }

  async #makeRoom(): Promise<boolean> {
    return this.log.nextTrims !== undefined && (await this.#write(new Batch(0))) === undefined
  }

  #trimSoon(): void {
    if (this.#closed !== undefined || this.#trimTimer !== undefined || this.log.nextTrims === undefined) return
    this.#trimTimer = this.#clock.after(this.log.isTrimBehind ? 0 : trimDelayMs, () => {
      this.#trimTimer = undefined
      if (this.log.nextTrims !== undefined) this.#commits.join()
    })
  }
}

function sessionStore(join: () => Batch, epochs: Map<string, number>): SessionStore {
  return {
    save: (record) => {
      const batch = join()
      if (record.epoch < (epochs.get(record.clientId) ?? 0)) return
      epochs.set(record.clientId, record.epoch)
      batch.saveSession(record)
    },
    saveCursor: (clientId, cursor) => {
      const batch = join()
      if (epochs.has(clientId)) batch.saveCursor(clientId, cursor)
    },
    saveOutbound: (clientId, outbound) => {
      const batch = join()
      if (epochs.has(clientId)) batch.saveOutbound(clientId, outbound)
    },
    remove: (clientId) => {
      epochs.delete(clientId)
      join().removeSession(clientId)
    },
  }
}
