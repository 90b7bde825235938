/**
 * The message log: what was appended lately stays in memory, older messages are read from the file.
 *
 * Invariants: seqs are dense, so counts are differences; every entry knows where its bytes end in the
 * sequence of all bytes ever appended, so sizes are differences too and nothing is ever scanned. What is not durable
 * yet is in memory and is not answered.
 */
import { Failure } from '../../lib/errors.ts'
import { NumberedQueue } from '../../lib/numbered-queue.ts'
import type { MessageLog, ReadAnswer, ReadLimit, Seq, StoredMessage } from '../../ports/store.ts'
import type { Publish } from '../../protocol/packets/publish.ts'
import type { Batch } from './batch.ts'
import type { Statement } from './connection.ts'
import { type PackedRow, unpackMessages } from './packed-messages.ts'

/** Durable messages stay in memory up to both of these. */
const recentCountMax = 4096
const recentBytesMax = 4 * 1024 * 1024

/** One group commit trims no more than this, so that it stays short. */
const trimCountMax = 4096
const trimBytesMax = 16 * 1024 * 1024

/** What the file holds when it is opened. */
export interface LogExtent {
  readonly firstSeq: Seq
  /** `firstSeq - 1` when there is no message. */
  readonly lastSeq: Seq
  /** Bytes ever appended before the first message, and up to the last one. */
  readonly startByte: number
  readonly endByte: number
}

export interface LogStatements {
  /** `logRead` of schema.ts. */
  readonly read: Statement<PackedRow>
  /** The `start_byte` of one seq. */
  readonly startByte: Statement<{ start_byte: number }>
}

interface Entry extends StoredMessage {
  readonly byteCount: number
  readonly endByte: number
}

export class SqliteMessageLog implements MessageLog {
  firstSeq: Seq
  lastSeq: Seq
  durableSeq: Seq
  readonly #path: string
  readonly #statements: LogStatements
  readonly #join: () => Batch
  readonly #onTrim: () => void
  readonly #recent: NumberedQueue<Entry>
  /** The file holds nothing up to here. */
  #trimmedSeq: Seq
  #startByte: number
  #endByte: number
  #isFindingStartByte = false

  /**
   * @param join the batch that a write made now belongs to
   * @param onTrim there is something to trim
   */
  constructor(path: string, extent: LogExtent, statements: LogStatements, join: () => Batch, onTrim: () => void) {
    this.#path = path
    this.#statements = statements
    this.#join = join
    this.#onTrim = onTrim
    this.firstSeq = extent.firstSeq
    this.lastSeq = extent.lastSeq
    this.durableSeq = extent.lastSeq
    this.#trimmedSeq = extent.firstSeq - 1
    this.#startByte = extent.startByte
    this.#endByte = extent.endByte
    this.#recent = new NumberedQueue(extent.lastSeq + 1)
  }

  get messageCount(): number {
    return this.lastSeq - this.firstSeq + 1
  }

  get byteCount(): number {
    return this.#endByte - this.#startByte
  }

  append(publish: Publish): Seq {
    publish.own()
    const seq = ++this.lastSeq
    const byteCount = this.#join().addMessage(seq, this.#endByte, publish)
    this.#endByte += byteCount
    this.#recent.push({ seq, publish, byteCount, endByte: this.#endByte })
    this.forgetOldest()
    return seq
  }

  read(from: Seq, limit: ReadLimit, answer: ReadAnswer): void {
    const first = Math.max(from, this.firstSeq)
    if (first > this.durableSeq) {
      answer([], undefined)
    } else if (first >= this.#recent.firstNumber) {
      const to = Math.min(first + Math.max(1, limit.countMax) - 1, this.durableSeq)
      answer(this.#recent.run(first, to, limit.bytesMax, byteCountOf), undefined)
    } else {
      this.#readFile(first, limit, answer)
    }
  }

  trim(upTo: Seq): void {
    const trimmed = Math.min(upTo, this.lastSeq)
    if (trimmed < this.firstSeq) return
    this.firstSeq = trimmed + 1
    const entry = this.#recent.at(trimmed)
    if (entry !== undefined) this.#startByte = entry.endByte
    else if (trimmed === this.lastSeq) this.#startByte = this.#endByte
    else this.#findStartByte()
    this.#recent.dropUpTo(Math.min(trimmed, this.durableSeq))
    this.#onTrim()
  }

  /** The seq up to which the next group commit trims; undefined when there is nothing to trim. */
  get nextTrimSeq(): Seq | undefined {
    const wanted = Math.min(this.firstSeq - 1, this.durableSeq)
    if (wanted === this.#trimmedSeq) return undefined
    return Math.min(wanted, this.#trimmedSeq + this.#trimStep)
  }

  /** More is to be trimmed than one group commit does. */
  get isTrimBehind(): boolean {
    return Math.min(this.firstSeq - 1, this.durableSeq) - this.#trimmedSeq > this.#trimStep
  }

  /** A group commit holds. @param lastSeq its last message @param trimmedSeq what it trimmed up to */
  onCommitted(lastSeq: Seq | undefined, trimmedSeq: Seq | undefined): void {
    if (lastSeq !== undefined) this.durableSeq = lastSeq
    if (trimmedSeq !== undefined) this.#trimmedSeq = trimmedSeq
    this.#recent.dropUpTo(Math.min(this.firstSeq - 1, this.durableSeq))
  }

  /** Keeps memory within its bounds. Called when the owner has seen what became durable, so that it reads it from memory. */
  forgetOldest(): void {
    const recent = this.#recent
    for (;;) {
      const oldest = recent.at(recent.firstNumber)
      if (oldest === undefined || oldest.seq > this.durableSeq) return
      const bytes = this.#endByte - oldest.endByte + oldest.byteCount
      if (recent.nextNumber - oldest.seq <= recentCountMax && bytes <= recentBytesMax) return
      recent.dropUpTo(oldest.seq)
    }
  }

  /** Messages per step; fewer when they are large, for the pages of each one are visited. */
  get #trimStep(): number {
    const averageBytes = this.messageCount === 0 ? 1 : this.byteCount / this.messageCount
    return Math.max(1, Math.min(trimCountMax, Math.floor(trimBytesMax / Math.max(1, averageBytes))))
  }

  #readFile(first: Seq, limit: ReadLimit, answer: ReadAnswer): void {
    const values = [first, Math.max(1, limit.countMax), this.durableSeq, limit.bytesMax]
    this.#statements.read.rows(values, ([row], error) => {
      if (row === undefined) return answer([], new Failure('ERR_STORE_READ', this.#path, error))
      let messages: StoredMessage[]
      try {
        messages = unpackMessages(row.heads, row.bytes ?? nothing)
      } catch (cause) {
        return answer([], new Failure('ERR_STORE_READ', this.#path, cause))
      }
      answer(messages, undefined)
    })
  }

  /** Until the answer comes, `byteCount` counts more than is kept. */
  #findStartByte(): void {
    if (this.#isFindingStartByte) return
    this.#isFindingStartByte = true
    const seq = this.firstSeq
    this.#statements.startByte.rows([seq], ([row]) => {
      this.#isFindingStartByte = false
      if (row !== undefined) this.#startByte = Math.max(this.#startByte, row.start_byte)
      if (this.firstSeq !== seq && this.firstSeq < this.#recent.firstNumber) this.#findStartByte()
    })
  }
}

const nothing = Buffer.alloc(0)

function byteCountOf(entry: Entry): number {
  return entry.byteCount
}
