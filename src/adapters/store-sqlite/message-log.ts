/**
 * The message log: what was appended lately stays in memory, older messages are read from the file. Where each lane
 * begins and ends stands in lane-state.ts. What is not durable yet is in memory and is not answered.
 */
import { Failure } from '../../lib/errors.ts'
import { NumberedQueue } from '../../lib/numbered-queue.ts'
import { Lane, lanes } from '../../ports/lane.ts'
import type {
  Durability,
  Excess,
  LaneBounds,
  MessageLog,
  ReadAnswer,
  ReadLimit,
  Seq,
  StoredMessage,
} from '../../ports/store.ts'
import type { Publish } from '../../protocol/packets/publish.ts'
import type { Join } from './batch.ts'
import type { SqliteError, Statement } from './connection.ts'
import { type LaneInFile, type LaneStart, LaneState } from './lane-state.ts'
import { type LogPage, LogPages, type MessagesAnswer } from './log-pages.ts'
import { PackedMessages, type PackedRow, type SizedMessage } from './packed-messages.ts'

/** Durable messages stay in memory up to both of these. */
const recentCountMax = 4096
const recentBytesMax = 4 * 1024 * 1024

/** No page of the file has more bytes than this, unless it is one message. */
const pageBytesMax = 512 * 1024

/** Pages of the file that are read before anybody asks for them. */
const pagesAhead = 2

/** `findExcess` looks at no more than this. */
const excessCountMax = 4096

/** What the file holds when it is opened. */
export interface LogExtent {
  /** Of the last message appended, also when it was trimmed since. */
  readonly lastSeq: Seq
  /** The highest that was trimmed. */
  readonly trimmedSeq: Seq
  /** Messages up to here may have been given out and be gone; 0 after a run that ended well. */
  readonly seqCeiling: Seq
  /** By lane. */
  readonly lanes: readonly LaneInFile[]
}

/** The statements of schema.ts with the same names. */
export interface LogStatements {
  readonly logRead: Statement<PackedRow>
  /** By lane. */
  readonly laneRead: readonly Statement<PackedRow>[]
  readonly laneStart: readonly Statement<StartRow>[]
  readonly laneExcess: readonly Statement<ExcessRow>[]
}

export type StartRow = { seq: Seq; number: number; start_byte: number }
export type ExcessRow = { first_seq: Seq | null; last_seq: Seq; count: number }

interface Entry extends SizedMessage {
  readonly number: number
  /** Of the lane, and of the whole log since it was opened. */
  readonly startByte: number
  readonly endByte: number
}

export class SqliteMessageLog implements MessageLog {
  lastSeq: Seq
  durableSeq: Seq
  readonly extents: readonly LaneState[]
  readonly #path: string
  #statements: LogStatements
  readonly #join: Join
  readonly #onTrim: () => void
  readonly #onReadError: (error: SqliteError) => void
  readonly #recent: NumberedQueue<Entry>
  readonly #pages = new LogPages((lane, from, answer) => this.#readFile(lane, from, answer))
  /** Since the log was opened. */
  #appendedBytes = 0
  readonly #isFindingStart: boolean[] = lanes.map(() => false)
  /** Of lanes where the file could not say where they go on: asked again when there is another one. */
  readonly #lostStarts = new Set<Lane>()

  /**
   * @param on.trim there is something to trim
   * @param on.readError the file cannot be read
   */
  constructor(
    path: string,
    extent: LogExtent,
    statements: LogStatements,
    join: Join,
    on: { trim: () => void; readError: (error: SqliteError) => void },
  ) {
    this.#path = path
    this.#statements = statements
    this.#join = join
    this.#onTrim = on.trim
    this.#onReadError = on.readError
    this.lastSeq = extent.lastSeq
    this.durableSeq = extent.lastSeq
    this.extents = extent.lanes.map((lane) => new LaneState(lane))
    this.#recent = new NumberedQueue(Math.max(extent.lastSeq, extent.seqCeiling) + 1)
  }

  /** The file was replaced by another one. */
  readFrom(statements: LogStatements): void {
    this.#statements = statements
    this.#pages.keep(() => false)
    const lost = [...this.#lostStarts]
    this.#lostStarts.clear()
    for (const lane of lost) this.#findStart(lane)
  }

  get firstSeq(): Seq {
    let first = this.lastSeq + 1
    for (const state of this.extents) first = Math.min(first, state.firstSeq)
    return first
  }

  get appendedBytes(): number {
    return this.#appendedBytes
  }

  get messageCount(): number {
    let count = 0
    for (const state of this.extents) count += state.messageCount
    return count
  }

  get byteCount(): number {
    let bytes = 0
    for (const state of this.extents) bytes += state.byteCount
    return bytes
  }

  append(publish: Publish, lane: Lane = Lane.event, durability?: Durability): Seq {
    publish.own()
    const seq = this.#recent.nextNumber
    this.lastSeq = seq
    const batch = this.#join(durability, lane === Lane.control ? 'now' : 'none')
    const state = this.#stateOf(lane)
    const number = state.lastNumber + 1
    const startByte = state.endByte
    const byteCount = batch.addMessage(seq, lane, number, startByte, publish)
    state.add(seq, byteCount)
    this.#appendedBytes += byteCount
    const atMs = batch.startedAtMs
    this.#recent.push({ seq, publish, lane, atMs, number, byteCount, startByte, endByte: this.#appendedBytes })
    this.forgetOldest()
    return seq
  }

  read(from: Seq, limit: ReadLimit, answer: ReadAnswer): void {
    const first = Math.max(from, this.#firstSeqOf(limit.lane))
    if (first > this.durableSeq) {
      answer([], undefined)
    } else if (first >= this.#recent.firstNumber) {
      answer(this.#readRecent(first, limit), undefined)
    } else {
      const page = this.#pages.find(limit.lane, first)
      if (page !== undefined) this.#readPage(page, first, limit, answer)
      else
        this.#pages.load(limit.lane, first, (loaded, failure) => {
          if (loaded === undefined) answer([], failure)
          else this.#readPage(loaded, first, limit, answer)
        })
    }
  }

  trim(upTo: Seq, lane?: Lane): void {
    const trimmed = Math.min(upTo, this.lastSeq)
    let hasTrimmed = false
    for (const each of lanes) {
      if ((lane !== undefined && lane !== each) || !this.#stateOf(each).trim(trimmed)) continue
      hasTrimmed = true
      this.#findStart(each)
    }
    if (!hasTrimmed) return
    this.#forgetTrimmed()
    this.#onTrim()
  }

  findExcess(lane: Lane, bounds: LaneBounds, answer: (excess: Excess | undefined, failure?: Failure) => void): void {
    const state = this.#stateOf(lane)
    const { countMax, bytesMax, notBeforeMs } = bounds
    const isNone = state.messageCount <= countMax && state.byteCount <= bytesMax && notBeforeMs < 0
    if (isNone || state.messageCount === 0) {
      answer(undefined)
      return
    }
    const values = [
      state.trimSeq,
      excessCountMax,
      state.lastNumber - countMax + 1,
      state.endByte - bytesMax,
      notBeforeMs,
    ]
    const bound = values.map((value) => (Number.isFinite(value) ? value : 0))
    this.#statement('laneExcess', lane).rows(bound, ([row], error) => {
      if (error !== undefined) answer(undefined, new Failure('ERR_STORE_READ', this.#path, error))
      else if (row === undefined || row.first_seq === null) answer(undefined)
      else answer({ firstSeq: row.first_seq, lastSeq: row.last_seq, count: row.count })
    })
  }

  /** By lane, the seq up to which the next group commit trims; undefined when there is nothing to trim. */
  get nextTrims(): readonly (Seq | undefined)[] | undefined {
    let trims: (Seq | undefined)[] | undefined
    for (const [lane, state] of this.extents.entries()) {
      const seq = state.nextTrimSeq(this.durableSeq)
      if (seq === undefined) continue
      trims ??= lanes.map(() => undefined)
      trims[lane] = seq
    }
    return trims
  }

  /** More is to be trimmed than one group commit does. */
  get isTrimBehind(): boolean {
    return this.extents.some((state) => state.isTrimBehind)
  }

  /** A group commit holds. @param lastSeq its last message @param trims up to where it trimmed, by lane */
  onCommitted(lastSeq: Seq | undefined, trims: readonly (Seq | undefined)[] | undefined): void {
    for (const [lane, seq] of trims?.entries() ?? []) {
      if (seq !== undefined) this.#stateOf(lane as Lane).onTrimmed(seq, this.durableSeq)
    }
    if (lastSeq !== undefined) this.durableSeq = lastSeq
    this.#forgetTrimmed()
  }

  /** Keeps memory within its bounds. Called when the owner has seen what became durable, so that it reads it from memory. */
  forgetOldest(): void {
    const recent = this.#recent
    for (;;) {
      const oldest = recent.at(recent.firstNumber)
      if (oldest === undefined || oldest.seq > this.durableSeq) return
      const bytes = this.#appendedBytes - oldest.endByte + oldest.byteCount
      if (recent.nextNumber - oldest.seq <= recentCountMax && bytes <= recentBytesMax) return
      recent.dropUpTo(oldest.seq)
    }
  }

  #stateOf(lane: Lane): LaneState {
    return this.extents[lane] as LaneState
  }

  #statement<Name extends Exclude<keyof LogStatements, 'logRead'>>(
    name: Name,
    lane: Lane,
  ): LogStatements[Name][number] {
    return this.#statements[name][lane] as LogStatements[Name][number]
  }

  #forgetTrimmed(): void {
    this.#recent.dropUpTo(Math.min(this.firstSeq - 1, this.durableSeq))
    this.#pages.keep((page) => page.lastSeq >= this.#firstSeqOf(page.lane))
  }

  #firstSeqOf(lane: Lane | undefined): Seq {
    return lane === undefined ? this.firstSeq : this.#stateOf(lane).firstSeq
  }

  #readRecent(from: Seq, limit: ReadLimit): StoredMessage[] {
    return this.#select((seq) => (seq > this.durableSeq ? undefined : this.#recent.at(seq)), from, limit)
  }

  #readPage(page: LogPage, from: Seq, limit: ReadLimit, answer: ReadAnswer): void {
    const { lastSeq, messages } = page
    const at = (place: number): SizedMessage | undefined => (place < messages.count ? messages.at(place) : undefined)
    let selected: StoredMessage[]
    try {
      selected = this.#select(at, placeOf(messages, from), limit)
    } catch (cause) {
      answer([], new Failure('ERR_STORE_READ', this.#path, cause))
      return
    }
    const reached = selected.at(-1)?.seq ?? lastSeq
    if (reached > messages.keyAt(messages.count >> 4)) this.#readAhead(page)
    if (reached >= lastSeq) this.#pages.passed(page)
    // Empty when all of it was trimmed meanwhile.
    if (selected.length === 0) this.read(lastSeq + 1, limit, answer)
    else answer(selected, undefined)
  }

  #readAhead({ lane, lastSeq }: LogPage): void {
    let next = lastSeq + 1
    for (let i = 0; i < pagesAhead && next < this.#recent.firstNumber && next <= this.durableSeq; i++) {
      const page = this.#pages.readAhead(lane, next)
      if (page === undefined) return
      next = page.lastSeq + 1
    }
  }

  /** @param at what stands at a place; undefined ends the selection */
  #select(at: (place: number) => SizedMessage | undefined, from: number, limit: ReadLimit): StoredMessage[] {
    const { bytesMax, lane } = limit
    const countMax = Math.max(1, limit.countMax)
    const messages: StoredMessage[] = []
    let bytes = 0
    for (let place = from; messages.length < countMax; place++) {
      const message = at(place)
      if (message === undefined) break
      const isOfLane = lane === undefined || lane === message.lane
      if (!isOfLane || message.seq <= this.#stateOf(message.lane).trimSeq) continue
      bytes += message.byteCount
      if (messages.length > 0 && bytes > bytesMax) break
      messages.push(message)
    }
    return messages
  }

  /** A page, however few of its messages somebody wants now. */
  #readFile(lane: Lane | undefined, from: Seq, answer: MessagesAnswer): void {
    const only = lane ?? this.#onlyLane()
    const froms = this.extents.map((state) => Math.max(from, state.trimSeq + 1))
    const limits = [this.durableSeq, pageBytesMax]
    const statement = only === undefined ? this.#statements.logRead : this.#statement('laneRead', only)
    const values = only === undefined ? [...limits, ...froms] : [...limits, froms[only] as Seq]
    statement.rows(values, ([row], error) => {
      if (error !== undefined) this.#onReadError(error)
      if (row === undefined) return answer(undefined, new Failure('ERR_STORE_READ', this.#path, error))
      let messages: PackedMessages
      try {
        messages = new PackedMessages(row)
      } catch (cause) {
        return answer(undefined, new Failure('ERR_STORE_READ', this.#path, cause))
      }
      answer(messages, undefined)
    })
  }

  /** The lane that holds everything, which is quicker to read. */
  #onlyLane(): Lane | undefined {
    const used = lanes.filter((lane) => this.#stateOf(lane).messageCount > 0)
    return used.length === 1 ? used[0] : undefined
  }

  /** After a trim. Until the answer comes, count and bytes of the lane say more than is kept. */
  #findStart(lane: Lane): void {
    const state = this.#stateOf(lane)
    const { trimSeq } = state
    if (trimSeq >= state.lastSeq) {
      state.startsAt(undefined)
    } else if (trimSeq + 1 >= this.#recent.firstNumber) {
      state.startsAt(this.#findRecent(lane, trimSeq + 1))
    } else if (this.#isFindingStart[lane] !== true) {
      this.#isFindingStart[lane] = true
      const statements = this.#statements
      this.#statement('laneStart', lane).rows([trimSeq], ([row], error) => {
        this.#isFindingStart[lane] = false
        if (error !== undefined && statements === this.#statements) {
          this.#lostStarts.add(lane)
          this.#onReadError(error)
        } else if (error !== undefined || state.trimSeq !== trimSeq) this.#findStart(lane)
        // Without a row it is in memory only, or there is none.
        else if (row === undefined) state.startsAt(this.#findRecent(lane, this.#recent.firstNumber))
        else state.startsAt({ seq: row.seq, number: row.number, startByte: row.start_byte })
      })
    }
  }

  #findRecent(lane: Lane, from: Seq): LaneStart | undefined {
    for (let seq = from; seq <= this.lastSeq; seq++) {
      const entry = this.#recent.at(seq)
      if (entry?.lane === lane) return entry
    }
    return undefined
  }
}

/** Of the first message from `seq` on. */
function placeOf(messages: PackedMessages, seq: Seq): number {
  let [low, high] = [0, messages.count]
  while (low < high) {
    const middle = (low + high) >> 1
    if (messages.keyAt(middle) < seq) low = middle + 1
    else high = middle
  }
  return low
}
