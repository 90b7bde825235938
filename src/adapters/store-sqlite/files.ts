/**
 * The files of a store: opened for writing, or as they stand where nothing can be written; replaced when they are damaged
 * or gone. A file that is damaged is put aside (salvage.ts).
 */
import { existsSync, statSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { must } from '../../lib/assert.ts'
import { utcText } from '../../lib/utc.ts'
import { type Lane, lanes } from '../../ports/lane.ts'
import type { Damage } from '../../ports/store.ts'
import { CommitWriter } from './commit-writer.ts'
import { Connection, type Statement } from './connection.ts'
import type { LaneInFile } from './lane-state.ts'
import { loadRecords } from './load.ts'
import type { ExcessRow, LogExtent, LogStatements, StartRow } from './message-log.ts'
import type { PackedRow } from './packed-messages.ts'
import { isDamage, replace, replacementPath, type Salvaged, salvage, syncDirectory } from './salvage.ts'
import {
  groupCommitInsert,
  groupCommitSchema,
  laneEnd,
  laneExcess,
  laneRead,
  laneStart,
  logRead,
  migrate,
  pageBytes,
} from './schema.ts'
import type { OldFiles, SqliteStoreOptions, StoreFiles } from './store.ts'

/** The file is copied from the write-ahead log once that holds so many pages, and the log then cut to this size. */
const checkpointPages = 1000
const journalBytesMax = 4 * 1024 * 1024

/** Damaged files beyond this are deleted, oldest first. */
const asideCountMax = 3

export async function openOrReplace(
  options: SqliteStoreOptions,
): Promise<{ files: StoreFiles; damage: Damage | undefined }> {
  try {
    return { files: await openFiles(options), damage: undefined }
  } catch (error) {
    if (!isDamage(error)) throw error
    const damage = await replaceDamaged(options, true)
    return { files: await openFiles(options), damage }
  }
}

/** @param newEpoch of a log that starts from nothing; at random unless given */
export async function openFiles(options: SqliteStoreOptions, newEpoch?: string): Promise<StoreFiles> {
  const { path } = options
  const mayBeDamaged = existsSync(`${path}-wal`)
  const opened: Connection[] = []
  try {
    const writer = await openWriter(options, path)
    opened.push(writer)
    await keepEpoch(writer, newEpoch ?? options.random.hex(8))
    const reader = await Connection.open(path, 'read')
    opened.push(reader)
    const files = await filesOf(writer, reader, mayBeDamaged)
    await syncDirectory(dirname(path))
    return files
  } catch (error) {
    for (const connection of opened) await connection.close().catch(() => undefined)
    throw error
  }
}

/** The store as it stands, where nothing can be written. Rejects where it is of an older version, or was never made. */
export async function openAsItStands(path: string): Promise<StoreFiles> {
  // A rollback journal is there until the file is whole for the first time, and it takes a writer to undo what it names.
  if (existsSync(`${path}-journal`)) throw new RangeError('it was never whole')
  const opened: Connection[] = []
  try {
    for (let i = 0; i < 2; i++) opened.push(await openToRead(path))
    const [writer, reader] = opened as [Connection, Connection]
    await writer.execute('PRAGMA temp_store = MEMORY')
    await migrate(writer, path)
    return await filesOf(writer, reader, existsSync(`${path}-wal`))
  } catch (error) {
    for (const connection of opened) await connection.close().catch(() => undefined)
    throw error
  }
}

/**
 * Needs no file beside the store that is not there: without a write-ahead log the store is all there is, and with one
 * the index that the last run left beside it serves, or is made anew in memory.
 */
export function openToRead(path: string): Promise<Connection> {
  const logBytes = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0
  return Connection.open(path, logBytes === 0 ? 'read alone' : 'read')
}

/** @param mayBeDamaged after a run that did not end well everything but the log is read once before anybody is told */
async function filesOf(writer: Connection, reader: Connection, mayBeDamaged: boolean): Promise<StoreFiles> {
  await writer.execute(groupCommitSchema)
  const epoch = await readEpoch(writer)
  const extent = await readExtent(writer)
  const commits = new CommitWriter(writer, await writer.prepare(groupCommitInsert))
  const logStatements = await prepareReads(reader)
  if (mayBeDamaged) await loadRecords(reader, nobody)
  return { writer, reader, epoch, extent, commits, logStatements }
}

async function openWriter(options: SqliteStoreOptions, path: string): Promise<Connection> {
  const writer = await Connection.open(path, 'create')
  try {
    await writer.execute(writerPragmas(options))
    await migrate(writer, path)
    return writer
  } catch (error) {
    await writer.close().catch(() => undefined)
    throw error
  }
}

const ignore = (): undefined => undefined
const nobody = {
  onSession: ignore,
  onInbox: ignore,
  onRetained: ignore,
  onMark: ignore,
  onLoss: ignore,
  onDelay: ignore,
}

/** Makes the directory, and sees to it that its name is on the disk. */
export async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 })
  if (first === undefined) return
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncDirectory(dirname(made))
}

/** @param isNewLog the file may have lost its end, so that seqs are given out again */
async function replaceDamaged(options: SqliteStoreOptions, isNewLog: boolean): Promise<Damage> {
  const { path, clock, log } = options
  const made = replacementPath(path)
  for (const suffix of ['', '-wal', '-shm']) await rm(made + suffix, { force: true })
  const target = await openWriter(options, made)
  let salvaged: Salvaged
  try {
    salvaged = await salvage(target, path, isNewLog)
  } finally {
    await target.close()
  }
  const asidePath = `${path}.corrupt-${utcText(clock.wallMs()).replaceAll(/[-:]|[.]\d+/g, '')}`
  await replace(path, asidePath)
  await deleteOldest(path)
  const damage = { asidePath, salvagedRowCount: salvaged.rowCount, holes: salvaged.holes }
  log.error({ path, ...damage }, 'store was damaged, a new one stands in its place')
  return damage
}

/** While running: opens the files anew, after what was damaged or deleted was put in order. */
export async function replaceFiles(
  options: SqliteStoreOptions,
  { files, isGone }: OldFiles,
): Promise<{ files: StoreFiles; damage: Damage }> {
  const { path, log } = options
  let damage: Damage | undefined
  await makeDirectory(dirname(path))
  if (isGone) {
    // What was deleted is still there for those who have it open.
    try {
      await rm(replacementPath(path), { force: true })
      await files.writer.rows('VACUUM INTO ?', [replacementPath(path)])
      damage = { asidePath: undefined, salvagedRowCount: 0, holes: [] }
      await closeFiles(files)
      await replace(path, undefined)
      log.error({ path }, 'store was deleted, a copy stands in its place')
    } catch (error) {
      if (!isDamage(error)) throw error
    }
  }
  if (damage === undefined) {
    await closeFiles(files)
    damage = await replaceDamaged(options, false)
  }
  return { files: await openFiles(options), damage }
}

export async function closeFiles({ reader, writer }: StoreFiles): Promise<void> {
  // A damaged file does not close without complaint, and one that was closed before complains, too.
  await reader.close().catch(() => undefined)
  await writer.close().catch(() => undefined)
}

async function deleteOldest(path: string): Promise<void> {
  const prefix = `${basename(path)}.corrupt-`
  const names = (await readdir(dirname(path))).filter((name) => name.startsWith(prefix) && !name.endsWith('-wal'))
  for (const name of names.sort().slice(0, -asideCountMax)) {
    for (const suffix of ['', '-wal']) await rm(join(dirname(path), name + suffix), { force: true })
  }
}

/** The page size counts only before the journal mode is set, and that only before the first table. */
function writerPragmas({ sizeBytesMax }: SqliteStoreOptions): string {
  return `PRAGMA page_size = ${pageBytes};
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = ${checkpointPages};
    PRAGMA journal_size_limit = ${journalBytesMax};
    PRAGMA temp_store = MEMORY;
    ${sizeBytesMax === undefined ? '' : `PRAGMA max_page_count = ${Math.floor(sizeBytesMax / pageBytes)};`}`
}

/** Makes the epoch of the log when there is none yet. */
async function keepEpoch(writer: Connection, newEpoch: string): Promise<void> {
  await writer.rows("INSERT OR IGNORE INTO meta (key, value) VALUES ('epoch', ?)", [newEpoch])
}

async function readEpoch(connection: Connection): Promise<string> {
  const [row] = await connection.rows<{ value: string }>("SELECT value FROM meta WHERE key = 'epoch'")
  return must(row, 'epoch of the log').value
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
  const rows = await connection.rows<{ key: string; value: number }>(
    "SELECT key, value FROM meta WHERE key IN ('trimmed_to', 'seq_ceiling')",
  )
  const saved = new Map(rows.map(({ key, value }) => [key, value]))
  const trimmedSeq = saved.get('trimmed_to') ?? 0
  const seqCeiling = saved.get('seq_ceiling') ?? 0
  const found = await Promise.all(lanes.map((lane) => readLane(connection, lane)))
  const lastSeq = Math.max(trimmedSeq, ...found.map((lane) => lane.lastSeq))
  return { lanes: found, trimmedSeq, seqCeiling, lastSeq }
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
