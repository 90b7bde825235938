/**
 * Opens the store: makes the directory, takes the lock, brings the schema up to date, finds where the log begins and
 * ends. Costs the same whatever the length of the log.
 */
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Failure } from '../../lib/errors.ts'
import type { Timeline } from '../../ports/clock.ts'
import { type Lane, lanes } from '../../ports/lane.ts'
import type { Store } from '../../ports/store.ts'
import { Connection, isSqliteError, type Statement } from './connection.ts'
import type { LaneInFile } from './lane-state.ts'
import { acquireLock } from './lock.ts'
import type { ExcessRow, LogExtent, LogStatements, StartRow } from './message-log.ts'
import type { PackedRow } from './packed-messages.ts'
import {
  groupCommitInsert,
  groupCommitSchema,
  laneEnd,
  laneExcess,
  laneRead,
  laneStart,
  logRead,
  migrate,
  readSavedTimeline,
} from './schema.ts'
import { SqliteStore, type SqliteStoreOptions } from './store.ts'

const pageBytes = 4096

/** The file is copied from the write-ahead log once that holds so many pages, and the log then cut to this size. */
const checkpointPages = 1000
const journalBytesMax = 4 * 1024 * 1024

/**
 * Rejects with a Failure: ERR_DATA_DIR, ERR_STORE_IN_USE, ERR_STORE_NEWER, ERR_STORE_FULL, or ERR_STORE_READ for a file
 * that is damaged or no store.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const opened: { close(): Promise<void> }[] = []
  try {
    await mkdir(dirname(options.path), { recursive: true, mode: 0o700 })
    const lock = await acquireLock(options.path)
    opened.unshift({ close: () => lock.release() })
    const writer = await Connection.open(options.path, 'create')
    opened.unshift(writer)
    await writer.execute(writerPragmas(options))
    await migrate(writer, options.path)
    const epoch = await keepEpoch(writer, options)
    await writer.execute(groupCommitSchema)
    const extent = await readExtent(writer)
    const insert = await writer.prepare(groupCommitInsert)

    const reader = await Connection.open(options.path, 'read')
    opened.unshift(reader)
    const logStatements = await prepareReads(reader)
    const { path, durability, log } = options
    const store = new SqliteStore({ writer, reader, lock, epoch, extent, insert, logStatements }, options)
    log.info({ path, durability, epoch, messageCount: store.log.messageCount }, 'store opened')
    return store
  } catch (error) {
    for (const part of opened) await part.close()
    throw openFailure(error, options.path)
  }
}

/**
 * The timeline of the last run, for the clock that the store is then opened with; undefined when there is none.
 * Rejects with a Failure as `openSqliteStore` does.
 */
export async function readTimeline(path: string): Promise<Timeline | undefined> {
  if (!existsSync(path)) return undefined
  let connection: Connection | undefined
  try {
    connection = await Connection.open(path, 'read')
    return await readSavedTimeline(connection)
  } catch (error) {
    throw openFailure(error, path)
  } finally {
    await connection?.close()
  }
}

/** The page size counts only before the journal mode is set, and that only before the first table. */
function writerPragmas({ durability, sizeBytesMax }: SqliteStoreOptions): string {
  return `PRAGMA page_size = ${pageBytes};
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = ${durability === 'disk' ? 'FULL' : 'NORMAL'};
    PRAGMA wal_autocheckpoint = ${checkpointPages};
    PRAGMA journal_size_limit = ${journalBytesMax};
    PRAGMA temp_store = MEMORY;
    ${sizeBytesMax === undefined ? '' : `PRAGMA max_page_count = ${Math.floor(sizeBytesMax / pageBytes)};`}`
}

/**
 * The epoch of the log, made anew when there is none yet, and after a power-up unless every commit is known to be
 * there: a log that lost its end gives out the same seqs again.
 */
async function keepEpoch(writer: Connection, { durability, clock, random }: SqliteStoreOptions): Promise<string> {
  const rows = await writer.rows<{ key: string; value: string }>(
    "SELECT key, value FROM meta WHERE key IN ('epoch', 'durability')",
  )
  const saved = new Map(rows.map(({ key, value }) => [key, value]))
  const timeline = await readSavedTimeline(writer)
  const mayHaveLost = saved.get('durability') === 'os' && timeline?.bootId !== clock.timeline().bootId
  const savedEpoch = saved.get('epoch')
  const epoch = savedEpoch === undefined || mayHaveLost ? random.hex(8) : savedEpoch
  if (epoch !== savedEpoch || durability !== saved.get('durability')) {
    await writer.rows("INSERT OR REPLACE INTO meta (key, value) VALUES ('epoch', ?), ('durability', ?)", [
      epoch,
      durability,
    ])
  }
  return epoch
}

async function prepareReads(reader: Connection): Promise<LogStatements> {
  const ofEachLane = <Row>(sql: (lane: Lane) => string): Promise<Statement<Row>[]> =>
    Promise.all(lanes.map((lane) => reader.prepare<Row>(sql(lane))))
  return {
    logRead: await reader.prepare<PackedRow>(logRead),
    laneRead: await ofEachLane<PackedRow>(laneRead),
    laneStart: await ofEachLane<StartRow>(laneStart),
    laneExcess: await ofEachLane<ExcessRow>(laneExcess),
  }
}

async function readExtent(connection: Connection): Promise<LogExtent> {
  const [trimmed] = await connection.rows<{ value: number }>("SELECT value FROM meta WHERE key = 'trimmed_to'")
  const trimmedSeq = trimmed?.value ?? 0
  const found = await Promise.all(lanes.map((lane) => readLane(connection, lane)))
  return { lanes: found, trimmedSeq, lastSeq: Math.max(trimmedSeq, ...found.map(({ lastSeq }) => lastSeq)) }
}

async function readLane(connection: Connection, lane: Lane): Promise<LaneInFile> {
  const [first] = await connection.rows<StartRow>(laneStart(lane), [0])
  const [last] = await connection.rows<{ seq: number; number: number; end_byte: number }>(laneEnd(lane))
  return {
    first: first && { seq: first.seq, number: first.number, startByte: first.start_byte },
    lastSeq: last?.seq ?? 0,
    lastNumber: last?.number ?? 0,
    endByte: last?.end_byte ?? 0,
  }
}

/** What an operator is told when the store does not open. Our own mistakes pass as they are. */
function openFailure(error: unknown, path: string): unknown {
  if (error instanceof Failure) return error
  if (isSqliteError(error)) {
    const detail = `${path}: ${error.message}`
    switch (error.code) {
      case 'SQLITE_BUSY':
        return new Failure('ERR_STORE_IN_USE', detail, error)
      case 'SQLITE_FULL':
        return new Failure('ERR_STORE_FULL', detail, error)
      case 'SQLITE_NOTADB':
      case 'SQLITE_CORRUPT':
        return new Failure('ERR_STORE_READ', detail, error)
      case 'SQLITE_CANTOPEN':
      case 'SQLITE_READONLY':
      case 'SQLITE_PERM':
      case 'SQLITE_IOERR':
        return new Failure('ERR_DATA_DIR', detail, error)
      default:
        return error
    }
  }
  if (error instanceof Error && 'syscall' in error) return new Failure('ERR_DATA_DIR', error.message, error)
  return error
}
