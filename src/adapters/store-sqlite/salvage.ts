/**
 * What happens to a file that is damaged: what can still be read of it is copied into a new file, which takes its
 * place; the damaged one stays beside it under another name, for whoever wants to look. Of each table everything up
 * to the first page that cannot be read is taken, and then everything behind the last one.
 *
 * The new file is made under a name of its own and moved into place when it is whole, so that a crash in between
 * leaves the damaged one to be found again.
 */
import { existsSync } from 'node:fs'
import { link, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { everyLane } from '../../ports/ledger.ts'
import type { Hole } from '../../ports/store.ts'
import { type Connection, isSqliteError } from './connection.ts'

/** Rows per step, where nothing is in the way. */
const stepRows = 500

type Range = Pick<Hole, 'firstSeq' | 'lastSeq'>

/** Nothing could be read. */
const everything: Hole = { lane: everyLane, firstSeq: 0, lastSeq: 0 }

export interface Salvaged {
  /** Of all tables. */
  readonly rowCount: number
  /** What may be missing in the log. */
  readonly holes: readonly Hole[]
}

/** A name for what is being made in place of the file. */
export function replacementPath(path: string): string {
  return `${path}-new`
}

export function isDamage(error: unknown): boolean {
  return isSqliteError(error) && (error.code === 'SQLITE_CORRUPT' || error.code === 'SQLITE_NOTADB')
}

/**
 * Copies what can be read of the file at `path` into `target`, which has all tables, without rows.
 * @param isNewLog true leaves out what names the log
 */
export async function salvage(target: Connection, path: string, isNewLog: boolean): Promise<Salvaged> {
  let rowCount = 0
  const holes: Hole[] = []
  let isRead = false
  try {
    await target.rows('ATTACH ? AS damaged', [path])
    const [version] = await target.rows<{ user_version: number }>('PRAGMA damaged.user_version')
    const [ours] = await target.rows<{ user_version: number }>('PRAGMA main.user_version')
    if (version?.user_version !== ours?.user_version) return { rowCount, holes: [everything] }
    const tables = await target.rows<{ name: string; sql: string }>(
      "SELECT name, sql FROM main.sqlite_schema WHERE type = 'table'",
    )
    for (const { name, sql } of tables) {
      const condition = name === 'meta' && isNewLog ? "key != 'epoch'" : 'true'
      const copied = await copyTable(target, name, /WITHOUT ROWID/i.test(sql), condition)
      rowCount += copied.rowCount
      const lane = /^log_(\d)$/.exec(name)?.[1]
      if (lane !== undefined && copied.hole !== undefined) holes.push({ lane: Number(lane), ...copied.hole })
    }
    isRead = true
  } catch (error) {
    if (!isDamage(error)) throw error
  } finally {
    await target.execute('DETACH damaged').catch(() => undefined)
  }
  return { rowCount, holes: isRead ? holes : [everything] }
}

/** Puts the file at `replacementPath` in place of the one at `path`, which is kept as `asidePath` if it is there. */
export async function replace(path: string, asidePath: string | undefined): Promise<void> {
  if (asidePath !== undefined && existsSync(path)) await link(path, asidePath)
  if (asidePath === undefined) await rm(`${path}-wal`, { force: true })
  else if (existsSync(`${path}-wal`)) await rename(`${path}-wal`, `${asidePath}-wal`)
  await rm(`${path}-shm`, { force: true })
  await rename(replacementPath(path), path)
  await syncDirectory(dirname(path))
}

/** The names in it are on the disk then. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

interface Copied {
  readonly rowCount: number
  readonly hole: Range | undefined
}

async function copyTable(target: Connection, table: string, isKeyed: boolean, condition: string): Promise<Copied> {
  const insert = `INSERT OR IGNORE INTO main.${table} SELECT * FROM damaged.${table} WHERE ${condition}`
  if (isKeyed) {
    const isCopied = await tryStep(() => target.execute(insert))
    return { rowCount: isCopied ? await countRows(target, table) : 0, hole: undefined }
  }
  const forward = await copyRun(target, table, insert, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 'ASC')
  if (forward.isComplete) return { rowCount: await countRows(target, table), hole: undefined }
  const backward = await copyRun(target, table, insert, forward.reached, Number.MAX_SAFE_INTEGER, 'DESC')
  const isEndKnown = backward.reached !== Number.MAX_SAFE_INTEGER
  const hole = {
    firstSeq: isEndKnown ? Math.max(1, forward.reached + 1) : 0,
    lastSeq: isEndKnown ? backward.reached - 1 : 0,
  }
  return { rowCount: await countRows(target, table), hole }
}

/** Copies rows with keys between `after` and `before` in one direction, until one cannot be read. */
async function copyRun(
  target: Connection,
  table: string,
  insert: string,
  after: number,
  before: number,
  direction: 'ASC' | 'DESC',
): Promise<{ readonly reached: number; readonly isComplete: boolean }> {
  const keys = `SELECT rowid AS key FROM damaged.${table} WHERE rowid > ? AND rowid < ? ORDER BY rowid ${direction} LIMIT ?`
  let [low, high, limit] = [after, before, stepRows]
  for (;;) {
    let found: readonly { key: number }[] = []
    const isRead = await tryStep(async () => {
      found = await target.rows<{ key: number }>(keys, [low, high, limit])
      const [first, last] = [found[0]?.key, found.at(-1)?.key]
      if (first === undefined || last === undefined) return
      const range = direction === 'ASC' ? [first, last] : [last, first]
      await target.rows(`${insert} AND rowid BETWEEN ? AND ? ORDER BY rowid`, range)
    })
    const last = found.at(-1)?.key
    if (isRead && last === undefined) return { reached: direction === 'ASC' ? low : high, isComplete: true }
    if (isRead && last !== undefined) {
      if (direction === 'ASC') low = last
      else high = last
    } else if (limit > 1) {
      limit = Math.max(1, Math.floor(limit / 8))
    } else {
      return { reached: direction === 'ASC' ? low : high, isComplete: false }
    }
  }
}

/** @returns false when it met damage */
async function tryStep(step: () => Promise<unknown>): Promise<boolean> {
  try {
    await step()
    return true
  } catch (error) {
    if (isDamage(error)) return false
    throw error
  }
}

async function countRows(target: Connection, table: string): Promise<number> {
  const [row] = await target.rows<{ n: number }>(`SELECT count(*) AS n FROM main.${table}`)
  return row?.n ?? 0
}
