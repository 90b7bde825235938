/**
 * The part of the store that remembers what was dropped on purpose. A message that was acknowledged to its publisher
 * either reaches every durable session that matched, or stands here: unexplained loss is a bug.
 *
 * In the ledger: what is taken out of the log or passed over while a durable session still wanted it, whatever the
 * reason, and what a damaged store lost.
 *
 * Not in the ledger, because nobody was promised anything, or the one it was promised to knows: QoS 0; messages for
 * sessions that end with their connection (counted only); publishes that were refused (the publisher was told, or not
 * acknowledged); what a session gives up by its own act, with clean start or by unsubscribing; and messages that had
 * expired before they were routed.
 */
import type { Seq } from './store.ts'

export type LossReason =
  /** The log was over its bounds: the oldest went, whoever still wanted them. */
  | 'backlog_full'
  /** The queue of the session was over its bounds. */
  | 'queue_full'
  /** The message had waited longer than the queue of the session allows. */
  | 'too_old'
  /** A newer one of its topic waited too, and only the newest was wanted. */
  | 'replaced'
  /** It waited with others of its topic, of which one in a while was wanted. */
  | 'sampled'
  /** The message expired before the session took it [MQTT-3.3.2-5]. */
  | 'expired'
  /** The session expired while its client was away. */
  | 'session_expired'
  /** The client refuses packets of this size. */
  | 'too_large'
  /** QoS 2 of a shared subscription, begun with a member whose session ended. */
  | 'share_member_gone'
  /** The remote broker does not take the message, and never will. */
  | 'remote_refused'
  /** The file was damaged. */
  | 'quarantined'

/** Drops of one kind that happened one after the other. Messages that were not dropped may lie between them. */
export interface LossRecord {
  /** Rises with each new record. */
  readonly number: number
  readonly reason: LossReason
  /** The session that did not get them; `logScope` when everybody did not who still wanted them. */
  readonly scope: string
  /** `everyLane` when they may be of several. */
  readonly lane: number
  /** The log that the seqs belong to. */
  readonly epoch: string
  /** 0 when it is not known. */
  readonly firstSeq: Seq
  readonly lastSeq: Seq
  /** undefined when it is not known; no more than the range holds then. */
  readonly count: number | undefined
  /** Wall clock, for people: the first and the last drop, in ms since 1970. */
  readonly sinceMs: number
  readonly untilMs: number
}

/** In place of a client id. */
export const logScope = '$log'

export const everyLane = -1

/** Several sessions, after old records were put together. */
export const manyScope = '$several'

/**
 * Promises:
 * - the last record put with a number loads.
 * - a removed record does not load.
 * - a record is durable in the same group commit as what was written before it in the same turn.
 */
export interface LedgerStore {
  put(record: LossRecord): void
  remove(number: number): void
}
