/** What the package `sqlite3` takes by itself: rows of the same size, as many in a transaction, each transaction synced. */
import { createRequire } from 'node:module'
import { join } from 'node:path'

const sqlite3 = createRequire(import.meta.url)('sqlite3') as typeof import('sqlite3')

export interface BareOptions {
  readonly folder: string
  readonly rowsPerCommit: number
  readonly payloadBytes: number
  readonly seconds: number
}

/** @returns rows a second */
export async function bareRowsPerSecond({
  folder,
  rowsPerCommit,
  payloadBytes,
  seconds,
}: BareOptions): Promise<number> {
  const database = new sqlite3.Database(join(folder, 'bare.db'))
  const run = (sql: string, values: unknown[] = []): Promise<void> =>
    new Promise((resolve, reject) => {
      database.run(sql, values, (error) => (error === null ? resolve() : reject(error)))
    })
  await run('PRAGMA page_size = 4096')
  await run('PRAGMA journal_mode = WAL')
  await run('PRAGMA synchronous = FULL')
  await run('CREATE TABLE log (seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL)')
  const payload = Buffer.alloc(payloadBytes, 'x')
  const insert = database.prepare('INSERT INTO log (topic, payload) VALUES (?, ?)')
  let count = 0
  const startMs = performance.now()
  while (performance.now() - startMs < seconds * 1000) {
    await run('BEGIN')
    await new Promise<void>((resolve, reject) => {
      for (let i = 1; i <= rowsPerCommit; i++) {
        insert.run(['s/1', payload], (error: Error | null) => {
          if (error !== null) reject(error)
          else if (i === rowsPerCommit) resolve()
        })
      }
    })
    await run('COMMIT')
    count += rowsPerCommit
  }
  const rate = count / ((performance.now() - startMs) / 1000)
  await new Promise<void>((resolve) => insert.finalize(() => resolve()))
  await new Promise<void>((resolve) => database.close(() => resolve()))
  return rate
}

/** The same with one statement for the whole transaction, which spares the package most of its trips. */
export async function bareMultiRowsPerSecond(options: BareOptions): Promise<number> {
  const { folder, rowsPerCommit, payloadBytes, seconds } = options
  const database = new sqlite3.Database(join(folder, 'bare-multi.db'))
  const run = (sql: string): Promise<void> =>
    new Promise((resolve, reject) => {
      database.run(sql, (error) => (error === null ? resolve() : reject(error)))
    })
  await run('PRAGMA page_size = 4096')
  await run('PRAGMA journal_mode = WAL')
  await run('PRAGMA synchronous = FULL')
  await run('CREATE TABLE log (seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL)')
  const payload = Buffer.alloc(payloadBytes, 'x')
  const rows = Math.min(rowsPerCommit, 16_000)
  const insert = database.prepare(`INSERT INTO log (topic, payload) VALUES ${Array(rows).fill('(?, ?)').join(', ')}`)
  const values = Array(rows).fill(['s/1', payload]).flat()
  let count = 0
  const startMs = performance.now()
  while (performance.now() - startMs < seconds * 1000) {
    await new Promise<void>((resolve, reject) => {
      insert.run(values, (error: Error | null) => (error === null ? resolve() : reject(error)))
    })
    count += rows
  }
  const rate = count / ((performance.now() - startMs) / 1000)
  await new Promise<void>((resolve) => insert.finalize(() => resolve()))
  await new Promise<void>((resolve) => database.close(() => resolve()))
  return rate
}
