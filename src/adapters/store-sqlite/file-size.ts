/**
 * Gives the disk back what a long outage took. SQLite keeps pages that were freed for what comes next, so the file stays
 * as large as it ever was: once nearly all of it is free, and little is left to be copied, it is written anew.
 */
import type { Connection } from './connection.ts'
import { pageBytes } from './schema.ts'

/** A smaller file is not worth the trouble. */
const fileBytesMin = 8 * 1024 * 1024

/** What is in use is copied by way of memory while commits wait. */
const usedBytesMax = 8 * 1024 * 1024

const freeShareMin = 0.75

/** Between two times, so that outages that come and go do not wear the flash. */
const pauseMs = 600_000

export class FileSize {
  #nextMs = Number.NEGATIVE_INFINITY

  /** Whether so much of the file is free that it should be written anew. Rejects with a SqliteError. */
  async isWasteful(connection: Connection, nowMs: number): Promise<boolean> {
    if (nowMs < this.#nextMs) return false
    const pageCount = await pragma(connection, 'page_count')
    const freeCount = await pragma(connection, 'freelist_count')
    if (pageCount * pageBytes < fileBytesMin || freeCount < pageCount * freeShareMin) return false
    return (pageCount - freeCount) * pageBytes <= usedBytesMax
  }

  /** Between commits. Rejects with a SqliteError. */
  async shrink(writer: Connection, nowMs: number): Promise<void> {
    this.#nextMs = nowMs + pauseMs
    await writer.execute('VACUUM; PRAGMA wal_checkpoint(TRUNCATE)')
  }
}

async function pragma(connection: Connection, name: 'page_count' | 'freelist_count'): Promise<number> {
  const [row] = await connection.rows<Record<string, number>>(`PRAGMA ${name}`)
  return row?.[name] ?? 0
}
