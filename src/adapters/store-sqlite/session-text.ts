/**
 * A session record as a row: client id, epoch and cursor are columns, the rest is one JSON text. What JSON cannot
 * say is turned into what it can: `Infinity` and absent values into null, the will's message into packed text.
 */

import type { OutboundRecord, Seq, SessionRecord, SubscriptionRecord, WillRecord } from '../../ports/store.ts'
import type { Version } from '../../protocol/packet.ts'
import { decodeMessage, encodeMessage, type MessageText } from './message-text.ts'

export interface SessionRow {
  readonly client_id: string
  readonly epoch: number
  readonly cursor: Seq
  readonly record: string
  /** JSON of rows, each [seq, packetId, qos, isReleased]: what was added to `outbound` since the record was written. */
  readonly outbound: string
}

interface SessionText {
  readonly version: Version
  /** null = `Infinity`. */
  readonly expiryIntervalSeconds: number | null
  readonly disconnectedAtMs: number | null
  readonly subscriptions: readonly SubscriptionRecord[]
  readonly sentSeq: Seq
  readonly outbound: readonly OutboundRecord[]
  readonly will: WillText | null
}

interface WillText extends MessageText {
  readonly delaySeconds: number
  readonly dueAtMs: number | null
}

/** The columns of the row, in order. */
export function encodeSession(
  record: SessionRecord,
): [clientId: string, epoch: number, cursor: Seq, text: SessionText] {
  const text = {
    version: record.version,
    expiryIntervalSeconds: Number.isFinite(record.expiryIntervalSeconds) ? record.expiryIntervalSeconds : null,
    disconnectedAtMs: record.disconnectedAtMs ?? null,
    subscriptions: record.subscriptions,
    sentSeq: record.sentSeq,
    outbound: record.outbound,
    will: record.will === undefined ? null : encodeWill(record.will),
  }
  return [record.clientId, record.epoch, record.cursor, text]
}

export function decodeSession(row: SessionRow): SessionRecord {
  const text = JSON.parse(row.record) as SessionText
  return {
    clientId: row.client_id,
    epoch: row.epoch,
    version: text.version,
    expiryIntervalSeconds: text.expiryIntervalSeconds ?? Number.POSITIVE_INFINITY,
    disconnectedAtMs: text.disconnectedAtMs ?? undefined,
    subscriptions: text.subscriptions.map((subscription) => ({
      ...subscription,
      subscriptionIdentifier: subscription.subscriptionIdentifier,
    })),
    cursor: row.cursor,
    sentSeq: text.sentSeq,
    outbound: mergeOutbound(text.outbound, row),
    will: text.will === null ? undefined : decodeWill(text.will),
  }
}

function mergeOutbound(saved: readonly OutboundRecord[], row: SessionRow): OutboundRecord[] {
  const added = JSON.parse(row.outbound) as [seq: Seq, packetId: number, qos: 1 | 2, isReleased: number][]
  const merged = new Map(saved.map((outbound) => [`${outbound.seq} ${outbound.packetId}`, outbound]))
  for (const [seq, packetId, qos, isReleased] of added) {
    merged.set(`${seq} ${packetId}`, { packetId, seq, qos, isReleased: isReleased === 1 })
  }
  return [...merged.values()].filter(({ seq }) => seq === 0 || seq > row.cursor)
}

function encodeWill(will: WillRecord): WillText {
  return { ...encodeMessage(will.message), delaySeconds: will.delaySeconds, dueAtMs: will.dueAtMs ?? null }
}

function decodeWill(text: WillText): WillRecord {
  return {
    message: decodeMessage(text),
    delaySeconds: text.delaySeconds,
    dueAtMs: text.dueAtMs ?? undefined,
  }
}
