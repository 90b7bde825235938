/**
 * What outlives the process. Writes return at once and join the open group commit; the store then calls
 * `onDurable(ticket)`, and only that releases acknowledgements. Reads answer through a callback, at once where the
 * answer is in memory. Every promise below is one test of test/contract/store.ts, in the same words.
 *
 * Time is the broker's timeline (ports/clock.ts), which goes on across restarts.
 */
import type { Failure } from '../lib/errors.ts'
import type { Qos, Version } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import type { DelayRecord, DelayStore } from './delays.ts'
import type { Lane } from './lane.ts'
import type { LedgerStore, LossRecord } from './ledger.ts'

/**
 * Position in a message log: 1, 2, 3 … in the order of appends, never reused. When a run did not end well some may be
 * left out, for they may have been given to messages that are gone.
 */
export type Seq = number

/** Number of a group commit. Rises by one with each. */
export type Ticket = number

/**
 * What an acknowledged message survives: `disk` a power cut, `os` the end of the process, `ram` neither. A group commit
 * is on the disk when it is durable if one of its writes asks for `disk`; otherwise the system has it. The most a
 * power cut takes is a run of group commits behind the last that asked for `disk`.
 *
 * What says nothing asks for what the store was opened with. Nobody waits for cursors and the ledger.
 */
export type Durability = 'disk' | 'os' | 'ram'

/**
 * Promises:
 * - everything written before `lastTicket` was read is durable once `onDurable` came with that ticket.
 * - `onDurable` comes with rising tickets, never inside a write.
 * - `onDurable` comes also for a write that changes nothing.
 * - `beforeCommit` comes before a group commit is written, and what is written inside it joins that commit.
 * - a group commit is all or nothing: after a crash either all of its writes are there or none.
 * - group commits become durable in order: after a crash no later one is there without every earlier one.
 * - a commit that fails is tried again until it holds, and `onFailure` tells once per outage; nothing is dropped.
 * - damage is no reason not to open: what can be read is kept, the rest is reported with `onDamage`.
 * - `close` makes everything written durable before it resolves.
 * - the epoch stays as long as the log and differs between logs.
 */
export interface Store {
  readonly log: MessageLog
  readonly sessions: SessionStore
  readonly inbox: Qos2Inbox
  readonly retained: RetainedStore
  readonly marks: MarkStore
  readonly ledger: LedgerStore
  readonly delays: DelayStore
  /** The group commit that the last write joined; 0 before the first. Durable already when nothing is under way. */
  readonly lastTicket: Ticket
  /** The last group commit that is durable. */
  readonly durableTicket: Ticket
  /** false while commits fail or space is short: new durable publishes are refused then. */
  readonly isWritable: boolean
  /**
   * Somebody here wants what matches, wherever it is published; told once for each subscription.
   * @returns the ticket with which messages published elsewhere come as well; 0 when there is no elsewhere
   */
  follow(topicFilter: string): Ticket
  /** Takes back one `follow`. */
  unfollow(topicFilter: string): void
  /** Set once, before the first write. */
  bind(owner: StoreOwner): void
  /** Hands everything but log messages to `loader`, then resolves. Called once, before the first write. */
  load(loader: StoreLoader): Promise<void>
  /** Rejects with the Failure when the store cannot be written; what is not durable is lost then. No write may follow. */
  close(): Promise<void>
}

export interface StoreOwner {
  /** A group commit is about to be written: for what is worth none of its own. Never comes while the store closes. */
  beforeCommit?(): void
  onDurable(ticket: Ticket): void
  /** Commits fail from now on; they are tried again. */
  onFailure(failure: Failure): void
  /** Commits work again. */
  onRecovered(): void
  /** Commits take as long as this by now; undefined when they no longer do. */
  onSlow?(durationMs: number | undefined): void
  /** The same as of the loader, while running: what the owner has in memory must be written again. */
  onDamage?(damage: Damage): void
  /**
   * Somebody else claims the session: its client is told to go, and the session is not the owner's any more.
   * @returns what is left of it; undefined when that is nothing
   */
  onHandOver?(clientId: string): HandedOver | undefined
}

export interface HandedOver {
  readonly record: SessionRecord
  /** QoS 2 packet ids whose PUBREL has not come. */
  readonly inbox: readonly number[]
}

/** A file of the store was damaged or gone, and another one stands in its place. */
export interface Damage {
  /** Where the damaged one is kept; undefined when there is none. */
  readonly asidePath: string | undefined
  /** What the new one begins with. */
  readonly salvagedRowCount: number
  /** Messages of the log that may be missing. */
  readonly holes: readonly Hole[]
}

export interface Hole {
  /** Or `everyLane` of ports/ledger.ts. */
  readonly lane: number
  /** 0 when it is not known. */
  readonly firstSeq: Seq
  readonly lastSeq: Seq
}

export interface StoreLoader {
  /** Comes first. The log is a new one then: its epoch is new. */
  onDamage?(damage: Damage): void
  /** Made anew, at random, whenever the log starts from nothing: seqs of different epochs cannot be compared. */
  onEpoch(epoch: string): void
  onSession(record: SessionRecord): void
  onInbox(clientId: string, packetId: number): void
  onRetained(publish: Publish): void
  onMark(key: string, mark: Mark): void
  /** By rising number. */
  onLoss(record: LossRecord): void
  onDelay(record: DelayRecord): void
}

/**
 * Messages in the order they were appended, each in a lane.
 *
 * Promises:
 * - `append` answers the next seq, whatever the lane; seqs are dense and rise across restarts.
 * - a message reads back with the topic, payload, QoS, retain flag, properties, expiry and publisher it was appended
 *   with.
 * - a message reads back with its lane, and with the time of the group commit that it joined.
 * - `read` answers durable messages only, in rising order, beginning with the first at or after `from`.
 * - `read` of a lane answers the messages of that lane only.
 * - `read` answers at least one message when one is durable at or after `from`, whatever the limits.
 * - `read` answers inside the call when the messages are in memory, later otherwise; exactly once either way.
 * - after `trim(upTo)` messages up to `upTo` are not read any more, others are.
 * - after `trim(upTo, lane)` messages of that lane up to `upTo` are not read any more, others are.
 * - count and bytes of each lane are those of its messages that were not trimmed.
 * - `findExcess` answers the oldest messages of a lane that are over the bounds, some of them if they are many.
 */
export interface MessageLog {
  /** Seq of the oldest message kept; `lastSeq + 1` when there is none. */
  readonly firstSeq: Seq
  /** Seq of the last append; 0 before the first. */
  readonly lastSeq: Seq
  /** Seq of the last message that is durable. */
  readonly durableSeq: Seq
  /** Messages and bytes of all lanes. */
  readonly messageCount: number
  readonly byteCount: number
  /** By lane. */
  readonly extents: readonly LaneExtent[]
  /**
   * The log shares `publish` from now on and makes it own its bytes; nobody changes it any more. DUP and packet id are
   * not kept; expiry is kept in whole milliseconds, rounded up.
   * @param lane `Lane.event` unless given
   */
  append(publish: Publish, lane?: Lane, durability?: Durability): Seq
  read(from: Seq, limit: ReadLimit, answer: ReadAnswer): void
  /**
   * Takes effect when it suits the store: there is no group commit to wait for.
   * @param lane every lane unless given
   */
  trim(upTo: Seq, lane?: Lane): void
  /** Looks at durable messages, the oldest first. Trims nothing. Exactly one answer, inside the call or later. */
  findExcess(lane: Lane, bounds: LaneBounds, answer: (excess: Excess | undefined, failure?: Failure) => void): void
}

/** What one lane of the log holds, as it is at the moment. For a short time after a trim it may say more. */
export interface LaneExtent {
  /** Seq of the last append to it that is known; 0 before the first. */
  readonly lastSeq: Seq
  readonly messageCount: number
  /** Of topic, payload and properties as on the wire. */
  readonly byteCount: number
}

export interface LaneBounds {
  readonly countMax: number
  readonly bytesMax: number
  /** Messages of group commits before are too old; `-Infinity` = none is. */
  readonly notBeforeMs: number
}

export interface Excess {
  readonly firstSeq: Seq
  readonly lastSeq: Seq
  /** Messages of the lane from `firstSeq` to `lastSeq`. */
  readonly count: number
}

export interface ReadLimit {
  readonly countMax: number
  readonly bytesMax: number
  /** Every lane unless given. */
  readonly lane?: Lane | undefined
}

/** `failure` with no messages when the range cannot be read; the caller tries again later. */
export type ReadAnswer = (messages: readonly StoredMessage[], failure: Failure | undefined) => void

export interface StoredMessage {
  readonly seq: Seq
  /** Shared: nobody changes it. */
  readonly publish: Publish
  readonly lane: Lane
  /** When its group commit was begun; `Infinity` when an older version wrote it, which did not keep that. */
  readonly atMs: number
}

export interface SessionRecord {
  readonly clientId: string
  /** Rises with every takeover; a write with a lower epoch than the stored one is refused. */
  readonly epoch: number
  readonly version: Version
  /** `Infinity` = never expires. */
  readonly expiryIntervalSeconds: number
  /** When the last connection ended; undefined while one is open. */
  readonly disconnectedAtMs: number | undefined
  readonly subscriptions: readonly SubscriptionRecord[]
  /** Every message up to here is done with. */
  readonly cursor: Seq
  /** Every message up to here was sent at least once; those after `cursor` that are not in `outbound` are done with. */
  readonly sentSeq: Seq
  /**
   * Messages sent and not yet done with. A released one may be done with already; when a packet id stands here twice,
   * the message with the lower seq is.
   */
  readonly outbound: readonly OutboundRecord[]
  readonly will: WillRecord | undefined
}

export interface SubscriptionRecord {
  readonly topicFilter: string
  readonly qos: Qos
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
  readonly subscriptionIdentifier: number | undefined
  /** Messages up to here were appended before the subscription was made. */
  readonly sinceSeq: Seq
}

export interface OutboundRecord {
  readonly packetId: number
  /** 0 for a message that is not in the log. */
  readonly seq: Seq
  /** The QoS it was sent with. */
  readonly qos: 1 | 2
  /** PUBREC came, PUBCOMP did not. */
  readonly isReleased: boolean
}

/** A will that is due at `dueAtMs` although the process may have restarted since. */
export interface WillRecord {
  readonly message: Publish
  readonly delaySeconds: number
  /** undefined while the connection is open. */
  readonly dueAtMs: number | undefined
}

/** What a claim came to. */
export type SessionClaim =
  /** @property record what another owner left; undefined when the claimer has loaded all there is */
  | { readonly kind: 'ours'; readonly epoch: number; readonly record: SessionRecord | undefined }
  | { readonly kind: 'unavailable'; readonly failure: Failure }

/**
 * Promises:
 * - a claim answers an epoch above that of every earlier claim and save of the client id; exactly once, inside the call
 *   or later.
 * - a save with a lower epoch than the last claim changes nothing: of those who claimed, only the last may write.
 * - a claim that is released is forgotten; what was saved, and a later claim, is not.
 * - a saved record loads as it was saved.
 * - the last save of a client id wins; a save with a lower epoch than the stored one changes nothing.
 * - `saveCursor` moves the cursor of a stored record and nothing else; of an unknown client it does nothing.
 * - `saveOutbound` adds to `outbound` of a stored record, or replaces what has the same seq and packet id; of an
 *   unknown client it does nothing.
 * - messages in `outbound` that the cursor has passed do not load.
 * - a removed session does not load.
 */
export interface SessionStore {
  /** Makes the caller the owner of a session, whoever owned it before. */
  claim(clientId: string, answer: (claim: SessionClaim) => void): void
  /** Gives back a claim of a session that was never saved. Not a write: there is no group commit to wait for. */
  release(clientId: string, epoch: number): void
  save(record: SessionRecord): void
  saveCursor(clientId: string, cursor: Seq): void
  saveOutbound(clientId: string, outbound: OutboundRecord): void
  remove(clientId: string): void
}

/**
 * Incoming QoS 2 packet ids whose message was taken and whose PUBREL has not come.
 *
 * Promises:
 * - an id that was put and not released loads.
 * - an id that was released or cleared does not load.
 */
export interface Qos2Inbox {
  put(clientId: string, packetId: number): void
  release(clientId: string, packetId: number): void
  clear(clientId: string): void
}

/**
 * Promises:
 * - the last message set for a topic loads, with the time at which it was set.
 * - a message without payload is kept like any other: it stands for a deletion.
 * - a cleared topic does not load.
 */
export interface RetainedStore {
  /** Shares `publish` and makes it own its bytes. */
  set(publish: Publish, durability?: Durability): void
  clear(topic: string, durability?: Durability): void
}

/** How far a numbered stream from outside was taken: one small record per gateway and lane. */
export interface Mark {
  readonly epoch: string
  readonly seq: Seq
}

/**
 * Promises:
 * - the last mark set for a key loads.
 * - a mark is durable in the same group commit as the messages appended before it in the same turn.
 */
export interface MarkStore {
  /** @param isUrgent a command waits for it, and it for no others */
  set(key: string, mark: Mark, durability?: Durability, isUrgent?: boolean): void
}
