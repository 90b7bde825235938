/**
 * One process per store. The lock is SQLite's own lock on an empty database beside the store, held by a transaction
 * that never ends: the system lets go of it when the process dies, however it dies, so no stale lock is ever
 * left. The store itself stays open to readers from outside.
 */
import { Failure } from '../../lib/errors.ts'
import { Connection, isSqliteError } from './connection.ts'

export interface Lock {
  release(): Promise<void>
}

/** Rejects with a Failure ERR_STORE_IN_USE when another process, or this one, holds it. */
export async function acquireLock(storePath: string): Promise<Lock> {
  const connection = await Connection.open(`${storePath}-lock`, 'create')
  try {
    // A journal file would be left behind by a process that is killed.
    await connection.execute('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
  } catch (error) {
    await connection.close()
    if (isSqliteError(error) && error.code === 'SQLITE_BUSY') throw new Failure('ERR_STORE_IN_USE', storePath, error)
    throw error
  }
  return { release: () => connection.close() }
}
