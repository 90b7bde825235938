/**
 * Opens the store: makes the directory, takes the lock, brings the schema up to date, finds where the log begins and
 * ends. Costs the same whatever the length of the log. A file that is damaged is put aside (salvage.ts).
 */
import { existsSync, statSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { must } from '../../lib/assert.ts'
import { Failure } from '../../lib/errors.ts'
import { utcText } from '../../lib/utc.ts'
import type { Timeline } from '../../ports/clock.ts'
import { type Lane, lanes } from '../../ports/lane.ts'
import type { Damage, Store } from '../../ports/store.ts'
import { CommitWriter } from './commit-writer.ts'
import { Connection, isSqliteError, type SqliteError, type Statement } from './connection.ts'
import type { LaneInFile } from './lane-state.ts'
import { loadRecords } from './load.ts'
import { acquireLock, type Lock } from './lock.ts'
import type { ExcessRow, LogExtent, LogStatements, StartRow } from './message-log.ts'
import type { PackedRow } from './packed-messages.ts'
import { errorCode, keepReserve, releaseReserve, whyUnwritable } from './reserve.ts'
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
  readSavedTimeline,
} from './schema.ts'
import { type OldFiles, SqliteStore, type SqliteStoreOptions, type StoreFiles } from './store.ts'

/** The file is copied from the write-ahead log once that holds so many pages, and the log then cut to this size. */
const checkpointPages = 1000
const journalBytesMax = 4 * 1024 * 1024

/** Damaged files beyond this are deleted, oldest first. */
const asideCountMax = 3

/**
 * Rejects with a Failure: ERR_DATA_DIR, ERR_STORE_IN_USE, ERR_STORE_NEWER or ERR_STORE_FULL. A disk that is full or
 * read-only is no reason where nothing was stored yet: the store then begins with an outage.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const { path } = options
  try {
    return await openHere(options)
  } catch (error) {
    const failure = openFailure(error, path)
    if (!(failure instanceof Failure) || !(failure.code === 'ERR_DATA_DIR' || failure.code === 'ERR_STORE_FULL')) {
      throw failure
    }
    const why = isUnwritable(errorCode(error)) ? errorCode(error) : await whyUnwritable(path)
    if (why === 'ENOSPC' && (await releaseReserve(path))) return openSqliteStore(options)
    if (!isUnwritable(why) || !isEmpty(path)) throw failure
    return await openAbsent(options, failure, why === 'ENOSPC' ? 'SQLITE_FULL' : 'SQLITE_READONLY')
  }
}

function isUnwritable(code: string | undefined): boolean {
  return code === 'ENOSPC' || code === 'EROFS'
}

function isEmpty(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0
}

async function openHere(options: SqliteStoreOptions): Promise<Store> {
  const { path, durability, log } = options
  let lock: Lock | undefined
  try {
    await makeDirectory(dirname(path))
    lock = await acquireLock(path)
    const { files, damage } = await openOrReplace(options)
    await keepReserve(path)
    const store = new SqliteStore(
      { files, lock, absence: undefined, damage, replaceFiles: (old: OldFiles) => replaceFiles(options, old) },
      options,
    )
    log.info({ path, durability, epoch: files.epoch, messageCount: store.log.messageCount }, 'store opened')
    return store
  } catch (error) {
    await lock?.release()
    throw error
  }
}

/** Files in memory stand in for the store until it can be made. They have no name any more: the process takes them along. */
async function openAbsent(options: SqliteStoreOptions, failure: Failure, code: string): Promise<Store> {
  const { path, log } = options
  const folder = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tidegate-'))
  let standIn: StoreFiles
  try {
    standIn = await openFiles({ ...options, path: join(folder, 'tidegate.db') })
  } finally {
    await rm(folder, { recursive: true })
  }
  const { epoch } = standIn
  const end = async (): Promise<{ files: StoreFiles; lock: Lock }> => {
    let lock: Lock | undefined
    try {
      await makeDirectory(dirname(path))
      lock = await acquireLock(path)
      const files = await openFiles(options, epoch)
      if (files.epoch !== epoch || files.extent.lastSeq > 0) {
        await closeFiles(files)
        throw new Failure('ERR_STORE_IN_USE', `${path}: another store was put there; start again to use it`)
      }
      await closeFiles(standIn)
      await keepReserve(path)
      log.info({ path, epoch }, 'store opened')
      return { files, lock }
    } catch (error) {
      await lock?.release()
      throw openFailure(error, path)
    }
  }
  const reason = failure.cause instanceof Error ? failure.cause.message : failure.detail
  const error: SqliteError = { name: 'SqliteError', message: reason, code }
  log.error({ path, err: failure }, 'store cannot be opened yet, durable messages are refused')
  const replaceFilesHere = (old: OldFiles) => replaceFiles(options, old)
  return new SqliteStore(
    { files: standIn, lock: undefined, absence: { error, end }, damage: undefined, replaceFiles: replaceFilesHere },
    options,
  )
}

async function openOrReplace(options: SqliteStoreOptions): Promise<{ files: StoreFiles; damage: Damage | undefined }> {
  try {
    return { files: await openFiles(options), damage: undefined }
  } catch (error) {
    if (!isDamage(error)) throw error
    const damage = await replaceDamaged(options, true)
    return { files: await openFiles(options), damage }
  }
}

/** @param newEpoch of a log that starts from nothing; at random unless given */
async function openFiles(options: SqliteStoreOptions, newEpoch?: string): Promise<StoreFiles> {
  const { path } = options
  const opened: Connection[] = []
  try {
    const mayBeDamaged = existsSync(`${path}-wal`)
    const writer = await openWriter(options, path)
    opened.push(writer)
    const epoch = await keepEpoch(writer, newEpoch ?? options.random.hex(8))
    await writer.execute(groupCommitSchema)
    const extent = await readExtent(writer)
    const commits = new CommitWriter(writer, await writer.prepare(groupCommitInsert))

    const reader = await Connection.open(path, 'read')
    opened.push(reader)
    const logStatements = await prepareReads(reader)
    // After a run that did not end well everything but the log is read once before anybody is told of it.
    if (mayBeDamaged) await loadRecords(reader, nobody)
    await syncDirectory(dirname(path))
    return { writer, reader, epoch, extent, commits, logStatements }
  } catch (error) {
    for (const connection of opened) await connection.close().catch(() => undefined)
    throw error
  }
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
async function makeDirectory(path: string): Promise<void> {
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
async function replaceFiles(
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

async function closeFiles({ reader, writer }: StoreFiles): Promise<void> {
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

/**
 * The timeline of the last run, for the clock that the store is then opened with; undefined when there is none, or
 * none can be read. Rejects with a Failure as `openSqliteStore` does.
 */
export async function readTimeline(path: string): Promise<Timeline | undefined> {
  // A rollback journal is there until the file is whole for the first time. It takes a writer to undo what it names.
  if (!existsSync(path) || existsSync(`${path}-journal`)) return undefined
  let connection: Connection | undefined
  try {
    connection = await Connection.open(path, 'read')
    return await readSavedTimeline(connection)
  } catch (error) {
    if (isDamage(error)) return undefined
    if ((await whyUnwritable(path)) === 'ENOSPC' && (await releaseReserve(path))) return readTimeline(path)
    throw openFailure(error, path)
  } finally {
    await connection?.close()
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

/** The epoch of the log, made anew when there is none yet. */
async function keepEpoch(writer: Connection, newEpoch: string): Promise<string> {
  await writer.rows("INSERT OR IGNORE INTO meta (key, value) VALUES ('epoch', ?)", [newEpoch])
  const [row] = await writer.rows<{ value: string }>("SELECT value FROM meta WHERE key = 'epoch'")
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
      case 'SQLITE_CANTOPEN':
      case 'SQLITE_READONLY':
      case 'SQLITE_PERM':
      case 'SQLITE_IOERR':
        return new Failure('ERR_DATA_DIR', `${detail}${ownerOf(path)}`, error)
      default:
        return error
    }
  }
  if (error instanceof Error && 'syscall' in error) return new Failure('ERR_DATA_DIR', error.message, error)
  return error
}

/** Whose the file is, when it is somebody else's. */
function ownerOf(path: string): string {
  const user = process.getuid?.()
  const owner =
    statSync(path, { throwIfNoEntry: false })?.uid ?? statSync(dirname(path), { throwIfNoEntry: false })?.uid
  return owner === undefined || user === undefined || owner === user
    ? ''
    : `, it belongs to user ${owner}, this is ${user}`
}
