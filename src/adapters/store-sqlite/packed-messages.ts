/**
 * Messages on their way into and out of SQLite. The package `sqlite3` pays for every bound value, row and
 * column on the event loop, so messages cross that border packed: one JSON text of heads and one run of bytes for any
 * number of them. SQL unpacks them into plain rows and packs rows again; the tables hold ordinary columns.
 *
 *   head   [position, topic bytes, payload bytes, property bytes, flags, expiry in ms or null, publisher, …]
 *   bytes  topic, payload, properties of the first message; those of the second; …
 *
 * Position is where the bytes begin (counted from 1, as SQL does) on the way in and the row's key on the way out. At
 * the end of a head stands, on the way in, a number of the caller's: of a message of the log how many seqs it is behind the
 * first of its batch, of a retained one when it was set; on the way out its lane, and the time of its commit or when it
 * was set.
 * Properties are as on the wire, their length before them; flags are those of a PUBLISH without DUP. The packet id
 * is not kept: it belongs to a connection. Expiry is kept in whole milliseconds, rounded up.
 */
import { Failure } from '../../lib/errors.ts'
import { Lane } from '../../ports/lane.ts'
import type { StoredMessage } from '../../ports/store.ts'
import { Cursor } from '../../protocol/cursor.ts'
import { OutputBuffer } from '../../protocol/output.ts'
import { PacketType, type PublishProperties, type Qos } from '../../protocol/packet.ts'
import { Publish } from '../../protocol/packets/publish.ts'
import { encodeProperties, propertiesByteCount, readProperties } from '../../protocol/property.ts'

/** The columns of a message, in every table that holds messages; the payload comes last because it may be long. */
export const messageColumns = 'flags, expires_at_ms, publisher, topic, properties, payload'

/**
 * A SELECT of `place` (0 for the first message), `at`, `extra` and the message columns, out of two SQL expressions.
 * @param heads NULL for no messages
 */
export function unpackingSelect(heads: string, bytes: string): string {
  return `SELECT place, at, extra, flags, expires_at_ms, publisher,
      CAST(substr(${bytes}, at, topic_bytes) AS TEXT) AS topic,
      CASE property_bytes WHEN 0 THEN NULL ELSE substr(${bytes}, at + topic_bytes + payload_bytes, property_bytes) END AS properties,
      substr(${bytes}, at + topic_bytes, payload_bytes) AS payload
    FROM (SELECT key AS place, value ->> 0 AS at, value ->> 1 AS topic_bytes, value ->> 2 AS payload_bytes,
      value ->> 3 AS property_bytes, value ->> 4 AS flags, value ->> 5 AS expires_at_ms, value ->> 6 AS publisher, value ->> 7 AS extra FROM json_each(${heads}))`
}

/** One row of a `packingSelect`. */
export interface PackedRow {
  /** `[]` when there are no messages. */
  readonly heads: string
  readonly bytes: Buffer | null
}

/** How messages of a table are packed. */
export interface Packing {
  /** A table, or a SELECT in brackets. */
  readonly from: string
  readonly key: string
  readonly where: string
  readonly limit?: string
  /** SQL expressions. */
  readonly lane?: string
  readonly atMs?: string
}

/** A SELECT that answers one PackedRow for the rows that `where` picks, by rising key. */
export function packingSelect({ from, key, where, limit = '', lane = 'NULL', atMs = 'NULL' }: Packing): string {
  return `SELECT json_group_array(json_array(position, topic_bytes, payload_bytes, property_bytes, flags, expires_at_ms, publisher,
        lane, at_ms)) AS heads,
      CAST(group_concat(bytes, '') AS BLOB) AS bytes
    FROM (SELECT ${key} AS position, octet_length(topic) AS topic_bytes, octet_length(payload) AS payload_bytes,
      ifnull(octet_length(properties), 0) AS property_bytes, flags, expires_at_ms, publisher, ${lane} AS lane, ${atMs} AS at_ms,
      CAST(topic AS BLOB) || payload || ifnull(properties, x'') AS bytes
      FROM ${from} WHERE ${where} ORDER BY ${key} ${limit})`
}

const none = Buffer.alloc(0)

export class MessagePacker {
  readonly #out = new OutputBuffer()
  #heads = ''
  #publisher = ''
  #publisherText = '""'

  get byteCount(): number {
    return this.#out.byteCount
  }

  /** Copies `publish`. Answers the bytes of its topic, payload and properties. @param extra a whole number */
  add(publish: Publish, extra = 0): number {
    const out = this.#out
    const start = out.length
    const topicBytes = publish.topicEnd - publish.topicStart
    const payloadBytes = publish.payloadByteCount
    out.ensure(topicBytes + payloadBytes)
    publish.bytes.copy(out.bytes, start, publish.topicStart, publish.topicEnd)
    publish.bytes.copy(out.bytes, start + topicBytes, publish.payloadStart, publish.payloadEnd)
    out.length = start + topicBytes + payloadBytes
    const blockBytes = publish.properties === undefined ? 0 : propertiesByteCount(publish.properties)
    if (blockBytes > 0) encodeProperties(out, publish.properties, blockBytes)
    const propertyBytes = out.length - start - topicBytes - payloadBytes

    const flags = (publish.qos << 1) | (publish.retain ? 1 : 0)
    const expiry = publish.expiresAtMs === Number.POSITIVE_INFINITY ? 'null' : Math.ceil(publish.expiresAtMs)
    const publisher = this.#quote(publish.publisher)
    const comma = start === 0 ? '' : ','
    this.#heads += `${comma}[${start + 1},${topicBytes},${payloadBytes},${propertyBytes},${flags},${expiry},${publisher},${extra}]`
    return out.length - start
  }

  /** Everything added; the packer is not used any more. `bytes` belongs to the caller. */
  take(): { heads: string; bytes: Buffer } {
    return { heads: `[${this.#heads}]`, bytes: this.#out.take()[0] ?? none }
  }

  /** As JSON. Publishers come in runs. */
  #quote(publisher: string): string {
    if (publisher !== this.#publisher) {
      this.#publisher = publisher
      this.#publisherText = JSON.stringify(publisher)
    }
    return this.#publisherText
  }
}

type Head = readonly [
  position: number,
  topicBytes: number,
  payloadBytes: number,
  propertyBytes: number,
  flags: number,
  expiresAtMs: number | null,
  publisher: string,
  lane: Lane | null,
  atMs: number | null,
]

/**
 * The messages of a PackedRow, `seq` being the position. They share `bytes` from now on.
 * @throws Failure ERR_STORE_READ when heads and bytes do not fit together; PacketFault for broken properties
 */
export function unpackMessages(heads: string, bytes: Buffer): StoredMessage[] {
  let start = 0
  const messages = (JSON.parse(heads) as Head[]).map((head) => {
    const [seq, topicBytes, payloadBytes, propertyBytes, flags, expiresAtMs, publisher, lane, atMs] = head
    const topicEnd = start + topicBytes
    const payloadEnd = topicEnd + payloadBytes
    const end = payloadEnd + propertyBytes
    const publish = new Publish(
      bytes.toString('utf8', start, topicEnd),
      ((flags >> 1) & 3) as Qos,
      (flags & 1) !== 0,
      false,
      0,
      propertyBytes === 0
        ? undefined
        : readProperties<PublishProperties>(new Cursor(bytes, payloadEnd, end), PacketType.publish),
      bytes,
      start,
      topicEnd,
      topicEnd,
      payloadEnd,
      true,
    )
    publish.expiresAtMs = expiresAtMs ?? Number.POSITIVE_INFINITY
    publish.publisher = publisher
    if (publish.retain) publish.changedAtMs = atMs ?? undefined
    start = end
    return { seq, publish, lane: lane ?? Lane.event, atMs: atMs ?? Number.POSITIVE_INFINITY }
  })
  if (start !== bytes.length) throw new Failure('ERR_STORE_READ', `messages of ${start} bytes in ${bytes.length}`)
  return messages
}
