/**
 * What of the log waits for one session, and what of it goes when that is over the bounds of a queue. The log is the
 * queue, so nothing is held here but sums: what is routed while the session does not follow is counted, and the bounds
 * hold when the session reads on.
 *
 * After a restart, an unsubscribe or a full backlog the sums are not known; the session then counts anew before it
 * reads on (deliver.ts).
 */
import type { LossReason } from '../ports/ledger.ts'
import type { QueueLimits } from '../ports/local.ts'
import type { Seq } from '../ports/store.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import { Thinning } from './thinning.ts'

export type QueueLoss = Extract<LossReason, 'queue_full' | 'too_old' | 'replaced' | 'sampled'>

export const noQueueLimits: QueueLimits = {
  countMax: Number.POSITIVE_INFINITY,
  bytesMax: Number.POSITIVE_INFINITY,
  ageMsMax: Number.POSITIVE_INFINITY,
  whenFull: 'drop_oldest',
  keepsQos0: false,
}

export class SessionQueue {
  readonly #limits: QueueLimits
  readonly #thinning: Thinning | undefined
  /** The sums are those of the messages from the session's place in the log to the last one routed. */
  isCounted = true
  #count = 0
  #byteCount = 0
  /** With `drop_newest`: the messages that came while the queue was full, as ranges. Messages of others lie between. */
  #refused: { readonly firstSeq: Seq; lastSeq: Seq }[] = []
  #isRefusing = false

  private constructor(limits: QueueLimits) {
    this.#limits = limits
    this.#thinning = limits.keepOf === undefined ? undefined : new Thinning(limits.keepOf)
  }

  /** undefined when there is nothing to keep an eye on. */
  static of(limits: QueueLimits): SessionQueue | undefined {
    const { countMax, bytesMax, ageMsMax, keepOf } = limits
    if (keepOf !== undefined) return new SessionQueue(limits)
    return Math.min(countMax, bytesMax, ageMsMax) === Number.POSITIVE_INFINITY ? undefined : new SessionQueue(limits)
  }

  /** Nothing waits. */
  clear(): void {
    this.isCounted = true
    this.#thinning?.clear()
    this.#count = 0
    this.#byteCount = 0
    this.#refused = []
    this.#isRefusing = false
  }

  /** A message waits from now on, or is refused. */
  add(seq: Seq, publish: Publish): void {
    const bytes = byteCountOf(publish)
    const { countMax, bytesMax, whenFull } = this.#limits
    if (whenFull === 'drop_newest' && (this.#count >= countMax || this.#byteCount + bytes > bytesMax)) {
      const latest = this.#refused.at(-1)
      if (this.#isRefusing && latest !== undefined) latest.lastSeq = seq
      else this.#refused.push({ firstSeq: seq, lastSeq: seq })
      this.#isRefusing = true
      return
    }
    this.#isRefusing = false
    this.#thinning?.add(seq, publish.topic)
    this.#count++
    this.#byteCount += bytes
  }

  /**
   * Whether the message at `seq`, the oldest that waits, has to go.
   * @param atMs when it was stored
   * @returns why, or undefined when it may be sent
   */
  excess(seq: Seq, publish: Publish, atMs: number, nowMs: number): QueueLoss | undefined {
    const { countMax, bytesMax, ageMsMax } = this.#limits
    if (this.#isRefused(seq)) return 'queue_full'
    if (this.#count > countMax || this.#byteCount > bytesMax) return 'queue_full'
    return nowMs - atMs > ageMsMax ? 'too_old' : this.#thinning?.excess(seq, publish.topic, atMs, nowMs)
  }

  /** The oldest message was sent, or went. */
  remove(seq: Seq, publish: Publish): void {
    if (this.#isRefused(seq)) {
      return
    }
    this.#count = Math.max(0, this.#count - 1)
    this.#byteCount = Math.max(0, this.#byteCount - byteCountOf(publish))
  }

  #isRefused(seq: Seq): boolean {
    while (this.#refused[0] !== undefined && this.#refused[0].lastSeq < seq) this.#refused.shift()
    const oldest = this.#refused[0]
    return oldest !== undefined && seq >= oldest.firstSeq
  }
}

function byteCountOf({ topicStart, topicEnd, payloadByteCount }: Publish): number {
  return topicEnd - topicStart + payloadByteCount
}
