/**
 * Writes group commits to the file. One that is synced is on the disk when it is done, and with it all before it; one
 * that is not has reached the system. In WAL mode SQLite syncs at each commit with `synchronous` FULL, and only around
 * checkpoints with NORMAL.
 */
import type { Connection, SqliteError, Statement, Value } from './connection.ts'

export class CommitWriter {
  readonly #connection: Connection
  /** `groupCommitInsert` of schema.ts. */
  readonly #insert: Statement<never>
  #isSyncing: boolean | undefined

  constructor(connection: Connection, insert: Statement<never>) {
    this.#connection = connection
    this.#insert = insert
  }

  /** Never rejects; answers why nothing was written. One at a time. */
  async write(values: readonly Value[], isSynced: boolean): Promise<SqliteError | undefined> {
    if (this.#isSyncing !== isSynced) {
      await this.#connection.execute(`PRAGMA synchronous = ${isSynced ? 'FULL' : 'NORMAL'}`)
      this.#isSyncing = isSynced
    }
    return new Promise((resolve) => this.#insert.run(values, resolve))
  }
}
