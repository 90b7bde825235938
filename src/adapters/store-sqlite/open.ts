/**
 * Opens the store: makes the directory, takes the lock, brings the schema up to date, finds where the log begins and
 * ends. Costs the same whatever the length of the log.
 *
 * A disk that is full or read-only is no reason not to start: what is stored can be read, or, where nothing was stored
 * yet, files in memory stand in for it. Every commit fails then until the store can be written, and so it is an outage
 * like any other.
 */
import { existsSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Failure } from '../../lib/errors.ts'
import type { Timeline } from '../../ports/clock.ts'
import type { Damage, Store } from '../../ports/store.ts'
import { type Connection, isSqliteError, type SqliteError } from './connection.ts'
import {
  closeFiles,
  makeDirectory,
  openAsItStands,
  openFiles,
  openOrReplace,
  openToRead,
  replaceFiles,
} from './files.ts'
import { acquireLock, type Lock } from './lock.ts'
import { errorCode, keepReserve, releaseReserve, whyUnwritable } from './reserve.ts'
import { isDamage } from './salvage.ts'
import { readSavedTimeline } from './schema.ts'
import { type Opened, SqliteStore, type SqliteStoreOptions, type StoreFiles } from './store.ts'

type Unwritable = 'ENOSPC' | 'EROFS'

const reasons: Record<Unwritable, SqliteError> = {
  ENOSPC: { name: 'SqliteError', code: 'SQLITE_FULL', message: 'no space is left on the disk' },
  EROFS: { name: 'SqliteError', code: 'SQLITE_READONLY', message: 'the file system is read-only' },
}

/**
 * Rejects with a Failure: ERR_DATA_DIR, ERR_STORE_IN_USE, ERR_STORE_NEWER, or ERR_STORE_FULL where what is stored cannot
 * even be read.
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
    if (!isUnwritable(why)) throw failure
    return isEmpty(path) ? await openStandIn(options, failure, why) : await openStanding(options, failure, why)
  }
}

function isUnwritable(code: string | undefined): code is Unwritable {
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
    const store = storeOf(options, { files, lock, absence: undefined, damage })
    log.info({ path, durability, epoch: files.epoch, messageCount: store.log.messageCount }, 'store opened')
    return store
  } catch (error) {
    await lock?.release()
    throw error
  }
}

function storeOf(options: SqliteStoreOptions, opened: Opened): SqliteStore {
  return new SqliteStore({ ...opened, replaceFiles: (old) => replaceFiles(options, old) }, options)
}

/** Nothing was stored yet. The files have no name any more: the process takes them along. */
async function openStandIn(options: SqliteStoreOptions, failure: Failure, why: Unwritable): Promise<Store> {
  const { path, log } = options
  const folder = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tidegate-'))
  let files: StoreFiles
  try {
    files = await openFiles({ ...options, path: join(folder, 'tidegate.db') })
  } finally {
    await rm(folder, { recursive: true })
  }
  const end = async (): Promise<Opened> => {
    const lock = await lockFor(path)
    try {
      const opened = await openInPlaceOf(files, options)
      await closeFiles(files)
      return { ...opened, lock, absence: undefined }
    } catch (error) {
      await lock.release()
      throw openFailure(error, path)
    }
  }
  log.error({ path, err: failure }, 'store cannot be opened yet, durable messages are refused')
  return storeOf(options, { files, lock: undefined, absence: { error: reasons[why], end }, damage: undefined })
}

/** What is stored can be read. */
async function openStanding(options: SqliteStoreOptions, failure: Failure, why: Unwritable): Promise<Store> {
  const { path, log } = options
  let files: StoreFiles
  try {
    files = await openAsItStands(path)
  } catch (error) {
    throw unreadable(path, why, error)
  }
  // Where even that cannot be had, nobody else can write either.
  const lock = await acquireLock(path).catch(() => undefined)
  log.error({ path, epoch: files.epoch, err: failure }, 'store can only be read, durable messages are refused')
  return storeOf(options, standing(options, files, lock, reasons[why]))
}

function standing(
  options: SqliteStoreOptions,
  files: StoreFiles,
  heldLock: Lock | undefined,
  error: SqliteError,
): Opened {
  const { path } = options
  const end = async (): Promise<Opened> => {
    const why = await whyUnwritable(path)
    if (why !== undefined) throw new Failure('ERR_DATA_DIR', `${path}: ${why}`)
    const lock = heldLock ?? (await lockFor(path))
    // What only reads the index of the write-ahead log keeps others in this process from writing it.
    await closeFiles(files)
    try {
      return { ...(await openInPlaceOf(files, options)), lock, absence: undefined }
    } catch (reason) {
      const again = await openAsItStands(path).catch(() => files)
      options.log.debug({ path, err: String(reason) }, 'store can still only be read')
      return standing(options, again, lock, error)
    }
  }
  return { files, lock: heldLock, absence: { error, end }, damage: undefined }
}

/** The store where it belongs, which must be the one that `standing` is of. */
async function openInPlaceOf(
  standing: StoreFiles,
  options: SqliteStoreOptions,
): Promise<{ files: StoreFiles; damage: Damage | undefined }> {
  const { path, log } = options
  const { epoch, extent } = standing
  let files: StoreFiles
  try {
    files = await openFiles(options, epoch)
  } catch (error) {
    if (!isDamage(error)) throw error
    return await replaceFiles(options, { files: standing, isGone: false })
  }
  if (files.epoch !== epoch || files.extent.lastSeq !== extent.lastSeq) {
    await closeFiles(files)
    throw new Failure('ERR_STORE_IN_USE', `${path}: another store was put there; start again to use it`)
  }
  await keepReserve(path)
  log.info({ path, epoch }, 'store opened')
  return { files, damage: undefined }
}

/** Rejects with a Failure. */
async function lockFor(path: string): Promise<Lock> {
  try {
    await makeDirectory(dirname(path))
    return await acquireLock(path)
  } catch (error) {
    throw openFailure(error, path)
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
    connection = await openToRead(path)
    return await readSavedTimeline(connection)
  } catch (error) {
    if (isDamage(error)) return undefined
    const why = await whyUnwritable(path)
    if (why === 'ENOSPC' && (await releaseReserve(path))) return readTimeline(path)
    throw isUnwritable(why) ? unreadable(path, why, error) : openFailure(error, path)
  } finally {
    await connection?.close()
  }
}

/** The write-ahead log has lost its index, say, or the store is of an older version. */
function unreadable(path: string, why: Unwritable, error: unknown): Failure {
  const { message } = reasons[why]
  const detail = `${path}: ${message}, and what is stored cannot be read without writing: ${(error as Error).message}`
  return new Failure(why === 'ENOSPC' ? 'ERR_STORE_FULL' : 'ERR_DATA_DIR', detail, error)
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
