/**
 * The only file that knows the package `sqlite3`. Every statement runs on the thread pool of the runtime; nothing
 * here blocks the event loop. A connection runs one statement at a time, so whoever must not wait behind a
 * commit reads through a connection of its own.
 *
 * Start and end are promises; the statements of the hot path answer through callbacks.
 */
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import type { Database, Statement as SqliteStatement } from 'sqlite3'

// Loaded as the CommonJS module that it is: importing it would cost megabytes for finding out its exports.
const sqlite3 = createRequire(import.meta.url)('sqlite3') as typeof import('sqlite3')

export type Value = number | string | Buffer | null

/** SQLite says no; `code` is the name of its result code, `SQLITE_FULL`. */
export interface SqliteError extends Error {
  readonly code: string
}

export function isSqliteError(error: unknown): error is SqliteError {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('SQLITE_')
}

type Mode = 'create' | 'read' | 'read alone'

const openFlags: Record<Mode, number> = {
  create: sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE,
  read: sqlite3.OPEN_READONLY,
  'read alone': sqlite3.OPEN_READONLY | sqlite3.OPEN_URI,
}

/** How long a statement waits for a lock that somebody outside holds, before it fails with SQLITE_BUSY. */
const busyTimeoutMs = 250

export class Connection {
  readonly #database: Database
  readonly #statements: SqliteStatement[] = []

  private constructor(database: Database) {
    this.#database = database
  }

  /**
   * Rejects with a SqliteError.
   * @param mode `create` makes the file when it is missing; `read alone` takes no lock and looks at no other file, and is
   * for one that nobody writes to
   */
  static open(path: string, mode: Mode): Promise<Connection> {
    const name = mode === 'read alone' ? `${pathToFileURL(path).href}?immutable=1` : path
    return new Promise((resolve, reject) => {
      const database = new sqlite3.Database(name, openFlags[mode], (error) => {
        if (error !== null) return reject(error)
        database.configure('busyTimeout', busyTimeoutMs)
        resolve(new Connection(database))
      })
    })
  }

  /** Runs statements that answer nothing. Rejects with a SqliteError. */
  execute(sql: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#database.exec(sql, (error) => (error === null ? resolve() : reject(error)))
    })
  }

  /** The rows of a statement that runs once. Rejects with a SqliteError. */
  rows<Row>(sql: string, values: readonly Value[] = []): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      this.#database.all<Row>(sql, values, (error, rows) => (error === null ? resolve(rows) : reject(error)))
    })
  }

  /** Rejects with a SqliteError. */
  prepare<Row = never>(sql: string): Promise<Statement<Row>> {
    return new Promise((resolve, reject) => {
      const statement = this.#database.prepare(sql, (error: Error | null) => {
        if (error !== null) return reject(error)
        this.#statements.push(statement)
        resolve(new Statement(statement))
      })
    })
  }

  /** Resolves once every statement has answered and the file is closed. Rejects with a SqliteError. */
  async close(): Promise<void> {
    for (const statement of this.#statements) {
      await new Promise<void>((resolve) => statement.finalize(() => resolve()))
    }
    await new Promise<void>((resolve, reject) => {
      this.#database.close((error) => (error === null ? resolve() : reject(error)))
    })
  }
}

/** A prepared statement. Runs that overlap take place one after the other. */
export class Statement<Row> {
  readonly #statement: SqliteStatement

  constructor(statement: SqliteStatement) {
    this.#statement = statement
  }

  /** The bytes of `values` are copied before this returns. */
  run(values: readonly Value[], done: (error: SqliteError | undefined) => void): void {
    this.#statement.run(values, (error) => done((error as SqliteError | null) ?? undefined))
  }

  rows(values: readonly Value[], answer: (rows: readonly Row[], error: SqliteError | undefined) => void): void {
    this.#statement.all<Row>(values, (error, rows) => {
      if (error === null) answer(rows, undefined)
      else answer([], error as SqliteError)
    })
  }
}
