/** Reads everything but the log, in pages, so that a large store is never in memory twice. */
import type { LossRecord } from '../../ports/ledger.ts'
import type { Mark, StoreLoader } from '../../ports/store.ts'
import type { Connection } from './connection.ts'
import { decodeMessage } from './message-text.ts'
import { PackedMessages, type PackedRow } from './packed-messages.ts'
import { outboundOfSession, retainedRead } from './schema.ts'
import { decodeSession, type SessionRow } from './session-text.ts'

const pageRows = 500

/** Rejects with a SqliteError, or a Failure ERR_STORE_READ. */
export async function loadRecords(connection: Connection, loader: Omit<StoreLoader, 'onEpoch'>): Promise<void> {
  await eachRow<SessionRow>(
    connection,
    'session',
    (row) => loader.onSession(decodeSession(row)),
    `, ${outboundOfSession}`,
  )
  await eachRow<{ client_id: string; packet_id: number }>(connection, 'inbox', (row) =>
    loader.onInbox(row.client_id, row.packet_id),
  )
  await eachRow<Mark & { key: string }>(connection, 'mark', ({ key, epoch, seq }) => loader.onMark(key, { epoch, seq }))
  await eachRow<{ record: string }>(connection, 'loss', ({ record }) => {
    const { count, ...rest } = JSON.parse(record) as LossRecord
    loader.onLoss({ ...rest, count })
  })
  await eachRow<{ id: number; due_at_ms: number; message: string }>(connection, 'delay', (row) =>
    loader.onDelay({ id: row.id, dueAtMs: row.due_at_ms, message: decodeMessage(JSON.parse(row.message)) }),
  )
  await eachRetained(connection, loader)
}

/** @param more columns beside those of the table */
async function eachRow<Row>(connection: Connection, table: string, take: (row: Row) => void, more = ''): Promise<void> {
  const sql = `SELECT rowid AS row_id, *${more} FROM ${table} WHERE rowid > ? ORDER BY rowid LIMIT ${pageRows}`
  let last = 0
  for (;;) {
    const rows = await connection.rows<Row & { row_id: number }>(sql, [last])
    for (const row of rows) {
      take(row)
      last = row.row_id
    }
    if (rows.length < pageRows) return
  }
}

async function eachRetained(connection: Connection, loader: Pick<StoreLoader, 'onRetained'>): Promise<void> {
  let last = 0
  for (;;) {
    const [page] = await connection.rows<PackedRow>(retainedRead, [last, pageRows])
    if (page === undefined) return
    const messages = new PackedMessages(page)
    for (let place = 0; place < messages.count; place++) {
      const { seq, publish } = messages.at(place)
      // Each one owns its bytes, or the last message of a page would keep the whole page.
      publish.isOwned = false
      loader.onRetained(publish.own())
      last = seq
    }
    if (messages.count < pageRows) return
  }
}
