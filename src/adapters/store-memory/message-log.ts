/** The message log in memory: every message that was not trimmed, as it was appended. */
import { type Lane, lanes } from '../../ports/lane.ts'
import type {
  Excess,
  LaneBounds,
  LaneExtent,
  MessageLog,
  ReadAnswer,
  ReadLimit,
  Seq,
  StoredMessage,
} from '../../ports/store.ts'
import type { Publish } from '../../protocol/packets/publish.ts'
import type { MemoryDisk } from './disk.ts'
import { byteCountOf, type LaneQueue } from './lane-queue.ts'

/** `findExcess` answers no more than this. */
const excessCountMax = 4096

/** What was appended and is not durable yet. */
type Pending = { messageCount: number; byteCount: number; lastSeq: Seq }

export class MemoryMessageLog implements MessageLog {
  lastSeq: Seq
  readonly extents: readonly LaneExtent[]
  readonly #disk: MemoryDisk
  readonly #nowMs: () => number
  readonly #join: (change: () => void) => void
  readonly #pending: Pending[] = lanes.map(() => ({ messageCount: 0, byteCount: 0, lastSeq: 0 }))

  /** @param join makes a change part of the open group commit */
  constructor(disk: MemoryDisk, nowMs: () => number, join: (change: () => void) => void) {
    this.#disk = disk
    this.#nowMs = nowMs
    this.#join = join
    this.lastSeq = disk.lastSeq
    this.extents = lanes.map((lane) => sumOf(this.#queue(lane), this.#pending[lane] as Pending))
  }

  get firstSeq(): Seq {
    const first = Math.min(...this.#disk.lanes.map((queue) => queue.oldest?.seq ?? Number.POSITIVE_INFINITY))
    return first === Number.POSITIVE_INFINITY ? this.durableSeq + 1 : first
  }

  get durableSeq(): Seq {
    return this.#disk.lastSeq
  }

  get messageCount(): number {
    return this.extents.reduce((sum, extent) => sum + extent.messageCount, 0)
  }

  get byteCount(): number {
    return this.extents.reduce((sum, extent) => sum + extent.byteCount, 0)
  }

  append(publish: Publish, lane: Lane = 1): Seq {
    const seq = ++this.lastSeq
    const message = { seq, publish: publish.own(), lane, atMs: this.#nowMs() }
    const byteCount = byteCountOf(publish)
    const pending = this.#pending[lane] as Pending
    pending.messageCount++
    pending.byteCount += byteCount
    pending.lastSeq = seq
    this.#join(() => {
      pending.messageCount--
      pending.byteCount -= byteCount
      this.#queue(lane).push(message)
      this.#disk.lastSeq = seq
    })
    return seq
  }

  read(from: Seq, { countMax, bytesMax, lane }: ReadLimit, answer: ReadAnswer): void {
    const queues = lane === undefined ? this.#disk.lanes : [this.#queue(lane)]
    const messages: StoredMessage[] = []
    let bytes = 0
    for (const message of inOrder(queues, from)) {
      bytes += byteCountOf(message.publish)
      if (messages.length > 0 && (bytes > bytesMax || messages.length >= countMax)) break
      messages.push(message)
    }
    answer(messages, undefined)
  }

  trim(upTo: Seq, lane?: Lane): void {
    const seq = Math.min(upTo, this.lastSeq)
    const queues = lane === undefined ? this.#disk.lanes : [this.#queue(lane)]
    for (const queue of queues) queue.dropUpTo(seq)
    // Once more for what is not durable yet.
    if (seq > this.durableSeq) this.#join(() => queues.map((queue) => queue.dropUpTo(seq)))
  }

  findExcess(lane: Lane, bounds: LaneBounds, answer: (excess: Excess | undefined) => void): void {
    const queue = this.#queue(lane)
    const extent = this.extents[lane] as LaneExtent
    let overCount = extent.messageCount - bounds.countMax
    let overBytes = extent.byteCount - bounds.bytesMax
    let excess: Excess | undefined
    for (const { seq, publish, atMs } of queue.from(0)) {
      if (overCount <= 0 && overBytes <= 0 && !(atMs < bounds.notBeforeMs)) break
      if (excess?.count === excessCountMax) break
      excess = { firstSeq: excess?.firstSeq ?? seq, lastSeq: seq, count: (excess?.count ?? 0) + 1 }
      overCount--
      overBytes -= byteCountOf(publish)
    }
    answer(excess)
  }

  #queue(lane: Lane): LaneQueue {
    return this.#disk.lanes[lane] as LaneQueue
  }
}

/** What is durable and what will be, together. */
function sumOf(queue: LaneQueue, pending: Pending): LaneExtent {
  return {
    get lastSeq() {
      return Math.max(queue.lastSeq, pending.lastSeq)
    },
    get messageCount() {
      return queue.messageCount + pending.messageCount
    },
    get byteCount() {
      return queue.byteCount + pending.byteCount
    },
  }
}

/** The messages of several lanes at or after `from`, by rising seq. */
function* inOrder(queues: readonly LaneQueue[], from: Seq): Generator<StoredMessage> {
  const heads = queues.map((queue) => queue.from(from))
  const next = heads.map((head) => head.next().value as StoredMessage | undefined)
  for (;;) {
    let first = -1
    for (const [index, message] of next.entries()) {
      if (message !== undefined && message.seq < (next[first]?.seq ?? Number.POSITIVE_INFINITY)) first = index
    }
    const message = next[first]
    if (message === undefined) return
    yield message
    next[first] = heads[first]?.next().value as StoredMessage | undefined
  }
}
