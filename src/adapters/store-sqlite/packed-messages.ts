/**
 * Messages on their way into and out of SQLite. The package `sqlite3` pays for every bound value, row and
 * column on the event loop, so messages cross that border packed: one JSON text of heads and one run of bytes for any
 * number of them. SQL unpacks them into plain rows and packs rows again; the tables hold ordinary columns.
 *
 *   in     [[position, topic bytes, payload bytes, property bytes, flags, expiry in ms or null, publisher, extra], …]
 *   out    [[key, …], [topic bytes, …], [payload bytes, …], [property bytes, …], [flags, …], [expiry, …], [publisher, …],
 *          [lane, …], [time, …]]
 *   bytes  topic, payload, properties of the first message; those of the second; …
 *
 * Position is where the bytes begin, counted from 1, as SQL does. `extra` is a number of the caller's: of a message of
 * the log how many seqs it is behind the first of its batch, of a retained one when it was set. On the way out the time
 * is that of the commit, or when the message was set. What comes out is columns, because a page of them is a dozen objects and not
 * thousands.
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
 * @param heads bytes of JSON text; NULL for no messages
 */
export function unpackingSelect(heads: string, bytes: string): string {
  return `SELECT place, at, extra, flags, expires_at_ms, publisher,
      CAST(substr(${bytes}, at, topic_bytes) AS TEXT) AS topic,
      CASE property_bytes WHEN 0 THEN NULL ELSE substr(${bytes}, at + topic_bytes + payload_bytes, property_bytes) END AS properties,
      substr(${bytes}, at + topic_bytes, payload_bytes) AS payload
    FROM (SELECT key AS place, value ->> 0 AS at, value ->> 1 AS topic_bytes, value ->> 2 AS payload_bytes,
      value ->> 3 AS property_bytes, value ->> 4 AS flags, value ->> 5 AS expires_at_ms, value ->> 6 AS publisher, value ->> 7 AS extra FROM json_each(CAST(${heads} AS TEXT)))`
}

/** One row of a `packingSelect`. */
export interface PackedRow {
  readonly heads: string
  readonly bytes: Buffer | null
}

/** How messages of a table are packed. */
export interface Packing {
  /** A table, or a SELECT in brackets. */
  readonly from: string
  /** By which the rows come in order by themselves: the row id of the table, or what the SELECT is ordered by. */
  readonly key: string
  readonly where: string
  /** SQL expressions. */
  readonly lane?: string
  readonly atMs?: string
}

/**
 * A SELECT that answers one PackedRow for the rows that `where` picks, by rising key. Neither ORDER BY nor LIMIT stand
 * in it: they would have every row copied before it is packed, which takes as long again.
 */
export function packingSelect({ from, key, where, lane = 'NULL', atMs = 'NULL' }: Packing): string {
  const columns = [
    key,
    'octet_length(topic)',
    'octet_length(payload)',
    'ifnull(octet_length(properties), 0)',
    'flags',
    'expires_at_ms',
    'publisher',
    lane,
    atMs,
  ]
  return `SELECT json_array(${columns.map((column) => `json_group_array(${column})`).join(', ')}) AS heads,
      CAST(group_concat(CAST(topic AS BLOB) || payload || ifnull(properties, x''), '') AS BLOB) AS bytes
    FROM ${from} WHERE ${where}`
}

const none = Buffer.alloc(0)

/** Heads are written as bytes: strings that are put together live until the commit and cost more than all else of it. */
export class MessagePacker {
  readonly #out = new OutputBuffer(true)
  readonly #heads = new OutputBuffer(true)
  #publisher: string | undefined
  /** Where the last publisher stands in `#heads`, as JSON. Publishers come in runs. */
  #publisherStart = 0
  #publisherEnd = 0

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

    const heads = this.#heads
    heads.ensure(headBytesMax + publish.publisher.length * escapedBytesMax)
    heads.bytes[heads.length++] = start === 0 ? openBracket : comma
    heads.bytes[heads.length++] = openBracket
    writeNumber(heads, start + 1)
    writeNumber(heads, topicBytes)
    writeNumber(heads, payloadBytes)
    writeNumber(heads, propertyBytes)
    writeNumber(heads, (publish.qos << 1) | (publish.retain ? 1 : 0))
    if (publish.expiresAtMs === Number.POSITIVE_INFINITY) writeText(heads, 'null,')
    else writeNumber(heads, Math.ceil(publish.expiresAtMs))
    this.#writePublisher(publish.publisher)
    writeNumber(heads, extra)
    heads.bytes[heads.length - 1] = closeBracket
    return out.length - start
  }

  /** Everything added; the packer is not used any more. Both belong to the caller. */
  take(): { heads: Buffer; bytes: Buffer } {
    const heads = this.#heads
    heads.ensure(1)
    heads.bytes[heads.length++] = closeBracket
    return { heads: heads.takeWhole(), bytes: this.#out.takeWhole() }
  }

  #writePublisher(publisher: string): void {
    const heads = this.#heads
    const start = heads.length
    if (publisher === this.#publisher) {
      for (let i = this.#publisherStart; i < this.#publisherEnd; i++)
        heads.bytes[heads.length++] = heads.bytes[i] as number
    } else {
      writeText(heads, `${JSON.stringify(publisher)},`)
      this.#publisher = publisher
    }
    this.#publisherStart = start
    this.#publisherEnd = heads.length
  }
}

const comma = 0x2c
const openBracket = 0x5b
const closeBracket = 0x5d
const digitZero = 0x30

/** Of a head without its publisher: seven numbers and their commas. */
const headBytesMax = 200

/** Of one UTF-16 unit in JSON: `\u0000`. */
const escapedBytesMax = 6

/** A whole number and a comma. There is room. */
function writeNumber(out: OutputBuffer, value: number): void {
  if (value < 0 || value > 0x7fff_ffff) {
    writeText(out, `${value},`)
    return
  }
  const { bytes } = out
  let end = out.length + 1
  for (let limit = 10; value >= limit; limit *= 10) end++
  let rest = value
  for (let i = end - 1; i >= out.length; i--) {
    const more = (rest / 10) | 0
    bytes[i] = digitZero + rest - more * 10
    rest = more
  }
  bytes[end] = comma
  out.length = end + 1
}

/** There is room. */
function writeText(out: OutputBuffer, text: string): void {
  out.length += out.bytes.write(text, out.length, 'utf8')
}

type Head = readonly [
  key: number,
  topicBytes: number,
  payloadBytes: number,
  propertyBytes: number,
  flags: number,
  expiresAtMs: number | null,
  publisher: string,
  lane: Lane | null,
  atMs: number | null,
]
type ColumnsOf<Row extends readonly unknown[]> = { readonly [Column in keyof Row]: readonly Row[Column][] }

/** A message with its bytes of topic, payload and properties. */
export interface SizedMessage extends StoredMessage {
  readonly byteCount: number
}

/** Messages that came out together. They are made one by one, when they are asked for, and share the bytes. */
export class PackedMessages {
  readonly #columns: ColumnsOf<Head>
  readonly #bytes: Buffer
  /** Where the bytes of each begin, and behind the last one where they end. */
  readonly #starts: number[] = [0]

  /** @throws Failure ERR_STORE_READ when heads and bytes do not fit together, or keys do not rise */
  constructor({ heads, bytes }: PackedRow) {
    this.#columns = JSON.parse(heads) as ColumnsOf<Head>
    this.#bytes = bytes ?? none
    const [keys, topicBytes, payloadBytes, propertyBytes] = this.#columns
    let end = 0
    for (let i = 0; i < keys.length; i++) {
      end += (topicBytes[i] as number) + (payloadBytes[i] as number) + (propertyBytes[i] as number)
      this.#starts.push(end)
      if (i > 0 && (keys[i] as number) <= (keys[i - 1] as number)) {
        throw new Failure('ERR_STORE_READ', `message ${keys[i]} behind message ${keys[i - 1]}`)
      }
    }
    if (end !== this.#bytes.length) {
      throw new Failure('ERR_STORE_READ', `messages of ${end} bytes in ${this.#bytes.length}`)
    }
  }

  get count(): number {
    return this.#columns[0].length
  }

  get byteCount(): number {
    return this.#bytes.length
  }

  /** @param place from 0 to `count - 1`, as everywhere */
  keyAt(place: number): number {
    return this.#columns[0][place] as number
  }

  /** `seq` is the key. @throws PacketFault for broken properties */
  at(place: number): SizedMessage {
    const [keys, topicBytes, payloadBytes, , flagsOf, expiries, publishers, laneOf, times] = this.#columns
    const bytes = this.#bytes
    const start = this.#starts[place] as number
    const topicEnd = start + (topicBytes[place] as number)
    const payloadEnd = topicEnd + (payloadBytes[place] as number)
    const end = this.#starts[place + 1] as number
    const flags = flagsOf[place] as number
    const publish = new Publish(
      bytes.toString('utf8', start, topicEnd),
      ((flags >> 1) & 3) as Qos,
      (flags & 1) !== 0,
      false,
      0,
      payloadEnd === end
        ? undefined
        : readProperties<PublishProperties>(new Cursor(bytes, payloadEnd, end), PacketType.publish),
      bytes,
      start,
      topicEnd,
      topicEnd,
      payloadEnd,
      true,
    )
    publish.expiresAtMs = expiries[place] ?? Number.POSITIVE_INFINITY
    publish.publisher = publishers[place] as string
    const atMs = times[place] ?? undefined
    if (publish.retain) publish.changedAtMs = atMs
    return {
      seq: keys[place] as number,
      publish,
      lane: laneOf[place] ?? Lane.event,
      atMs: atMs ?? Number.POSITIVE_INFINITY,
      byteCount: end - start,
    }
  }
}
