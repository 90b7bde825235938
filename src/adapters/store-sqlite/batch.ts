/**
 * The writes of one group commit while it collects them. Messages keep their order; of everything else only the last
 * write of a key counts, so that a commit never writes a row twice.
 */

import type { DelayRecord } from '../../ports/delays.ts'
import { type Lane, lanes } from '../../ports/lane.ts'
import type { LossRecord } from '../../ports/ledger.ts'
import type { Durability, Mark, OutboundRecord, Seq, SessionRecord, Ticket } from '../../ports/store.ts'
import type { Publish } from '../../protocol/packets/publish.ts'
import type { Value } from './connection.ts'
import { encodeMessage } from './message-text.ts'
import { MessagePacker } from './packed-messages.ts'
import { encodeSession } from './session-text.ts'

/** Changes to the inbox of one client: true for an id that was put, false for one that was released. */
interface InboxChanges {
  isCleared: boolean
  readonly isPutById: Map<number, boolean>
}

/** Messages of one lane, and where in the lane they begin. */
interface LaneMessages {
  readonly packer: MessagePacker
  readonly firstNumber: number
  readonly startByte: number
}

/**
 * How long a write lets its batch wait for others: `none` for as long as the flash budget asks for, `soon` for the
 * interval of commits, `now` until the end of the turn.
 */
export type Haste = 'none' | 'soon' | 'now'

/** The batch that a write made now belongs to, and becomes as safe as it asks for. @param haste `none` unless given */
export type Join = (durability?: Durability, haste?: Haste) => Batch

export class Batch {
  readonly ticket: Ticket
  /** When the first write joined. */
  startedAtMs = 0
  /** Seq of its last message; undefined when it has none. */
  lastSeq: Seq | undefined
  /** It must be on the disk, not only in the hands of the system, before it is durable. */
  isSynced = false
  /** How long it may wait for others, of those in it who can wait least. */
  waitMsMax = Number.POSITIVE_INFINITY
  #firstSeq: Seq = 0
  #byteCount = 0
  readonly #messages: (LaneMessages | undefined)[] = lanes.map(() => undefined)
  /** undefined = removed. */
  readonly #sessions = new Map<string, SessionRecord | undefined>()
  readonly #cursors = new Map<string, Seq>()
  readonly #outbound = new Map<string, OutboundRecord[]>()
  readonly #inboxes = new Map<string, InboxChanges>()
  /** undefined = cleared. */
  readonly #retained = new Map<string, Publish | undefined>()
  readonly #marks = new Map<string, Mark>()
  /** undefined = removed. */
  readonly #delays = new Map<number, DelayRecord | undefined>()
  readonly #losses = new Map<number, LossRecord | undefined>()
  #values: readonly Value[] | undefined

  constructor(ticket: Ticket) {
    this.ticket = ticket
  }

  /** Bytes of the messages in it. */
  get byteCount(): number {
    return this.#byteCount
  }

  /**
   * @param number of the message in its lane
   * @param startByte bytes of all messages of the lane before it
   * @returns bytes of topic, payload and properties
   */
  addMessage(seq: Seq, lane: Lane, number: number, startByte: number, publish: Publish): number {
    if (this.lastSeq === undefined) this.#firstSeq = seq
    this.lastSeq = seq
    let messages = this.#messages[lane]
    if (messages === undefined) {
      messages = { packer: new MessagePacker(), firstNumber: number, startByte }
      this.#messages[lane] = messages
    }
    const byteCount = messages.packer.add(publish, seq - this.#firstSeq)
    this.#byteCount += byteCount
    return byteCount
  }

  saveSession(record: SessionRecord): void {
    this.#sessions.set(record.clientId, record)
    this.#cursors.delete(record.clientId)
    this.#outbound.delete(record.clientId)
  }

  removeSession(clientId: string): void {
    this.#sessions.set(clientId, undefined)
    this.#cursors.delete(clientId)
    this.#outbound.delete(clientId)
  }

  saveCursor(clientId: string, cursor: Seq): void {
    this.#cursors.set(clientId, cursor)
  }

  saveOutbound(clientId: string, outbound: OutboundRecord): void {
    const added = this.#outbound.get(clientId)
    if (added === undefined) this.#outbound.set(clientId, [outbound])
    else added.push(outbound)
  }

  putInbox(clientId: string, packetId: number): void {
    this.#inboxOf(clientId).isPutById.set(packetId, true)
  }

  releaseInbox(clientId: string, packetId: number): void {
    this.#inboxOf(clientId).isPutById.set(packetId, false)
  }

  clearInbox(clientId: string): void {
    const inbox = this.#inboxOf(clientId)
    inbox.isCleared = true
    inbox.isPutById.clear()
  }

  setRetained(publish: Publish): void {
    this.#retained.set(publish.topic, publish)
  }

  clearRetained(topic: string): void {
    this.#retained.set(topic, undefined)
  }

  setMark(key: string, mark: Mark): void {
    this.#marks.set(key, mark)
  }

  putDelay(record: DelayRecord): void {
    this.#delays.set(record.id, record)
  }

  removeDelay(id: number): void {
    this.#delays.set(id, undefined)
  }

  putLoss(record: LossRecord): void {
    this.#losses.set(record.number, record)
  }

  removeLoss(number: number): void {
    this.#losses.set(number, undefined)
  }

  /**
   * What is bound for the columns `started_at_ms` to `delays` of `group_commit` (schema.ts), the same at each call.
   * Nothing is written to the batch any more.
   */
  get values(): readonly Value[] {
    this.#values ??= this.#encode()
    return this.#values
  }

  #encode(): Value[] {
    const sessions = [...this.#sessions]
    const inboxes = [...this.#inboxes]
    const inboxRows = (isPut: boolean): unknown[][] =>
      inboxes.flatMap(([clientId, { isPutById }]) =>
        [...isPutById].filter(([, value]) => value === isPut).map(([packetId]) => [clientId, packetId]),
      )
    const retained = new MessagePacker()
    for (const publish of this.#retained.values())
      if (publish !== undefined) retained.add(publish, Math.floor(publish.changedAtMs ?? 0))
    return [
      this.startedAtMs,
      this.#firstSeq,
      ...this.#messages.flatMap((messages) => [
        messages?.firstNumber ?? 0,
        messages?.startByte ?? 0,
        ...(messages === undefined ? [null, null] : packed(messages.packer)),
      ]),
      json(sessions.filter(([, record]) => record === undefined).map(([clientId]) => clientId)),
      json(sessions.flatMap(([, record]) => (record === undefined ? [] : [encodeSession(record)]))),
      json([...this.#cursors]),
      json(
        [...this.#outbound].flatMap(([clientId, added]) =>
          added.map(({ seq, packetId, qos, isReleased }) => [clientId, seq, packetId, qos, isReleased ? 1 : 0]),
        ),
      ),
      json(inboxes.filter(([, { isCleared }]) => isCleared).map(([clientId]) => clientId)),
      json(inboxRows(false)),
      json(inboxRows(true)),
      json([...this.#retained].filter(([, publish]) => publish === undefined).map(([topic]) => topic)),
      ...packed(retained),
      json([...this.#marks].map(([key, { epoch, seq }]) => [key, epoch, seq])),
      json([...this.#losses].filter(([, record]) => record === undefined).map(([number]) => number)),
      json([...this.#losses].flatMap(([number, record]) => (record === undefined ? [] : [[number, record]]))),
      json([...this.#delays].filter(([, record]) => record === undefined).map(([id]) => id)),
      json(
        [...this.#delays].flatMap(([id, record]) =>
          record === undefined ? [] : [[id, Math.ceil(record.dueAtMs), encodeMessage(record.message)]],
        ),
      ),
    ]
  }

  #inboxOf(clientId: string): InboxChanges {
    let inbox = this.#inboxes.get(clientId)
    if (inbox === undefined) {
      inbox = { isCleared: false, isPutById: new Map() }
      this.#inboxes.set(clientId, inbox)
    }
    return inbox
  }
}

function json(rows: readonly unknown[]): string | null {
  return rows.length === 0 ? null : JSON.stringify(rows)
}

function packed(messages: MessagePacker): [heads: Buffer | null, bytes: Buffer | null] {
  if (messages.byteCount === 0) return [null, null]
  const { heads, bytes } = messages.take()
  return [heads, bytes]
}
