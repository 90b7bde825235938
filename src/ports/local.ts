/**
 * The broker as seen from inside the process: what a bridge needs to be one more client, without a socket between.
 */
import type { Numbering } from '../protocol/numbering.ts'
import type { Qos, SubscriptionRequest } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import type { Lane } from './lane.ts'
import type { PeerLink } from './peer.ts'
import type { RetainedTopic } from './retained.ts'
import type { Durability, Seq, Ticket } from './store.ts'

/**
 * Promises:
 * - `publish` takes the message for all recipients at once; what it returns is durable after `onDurable` of it.
 * - a message published from a local session does not come back to a No Local subscription of that session.
 */
export interface LocalBroker {
  /** Opens or resumes the durable session `clientId`; it never expires. */
  openSession(clientId: string, consumer: LocalConsumer, options?: LocalSessionOptions): LocalSession
  /**
   * Called once all parts of the house have opened their sessions, and when one has closed its own. Those that nobody
   * has open end now, or in `keptSeconds` when something may wait for them; whoever opens one before that goes on with it.
   * @returns the latter
   */
  endForgotten(keptSeconds: number): readonly ForgottenSession[]
  /** What `clientId` publishes it has from another broker, as far as it shows: a bridge of ours, or one of mosquitto. */
  isRelay(clientId: string): boolean
  /** Publishes a value of the broker's own below `$SYS` of this node, which stays until the next one. */
  tell(topic: string, payload: string): void
}

/** What the client ids of bridges begin with. */
export const bridgeSessions = '$bridge/'

/** A durable session of a part of the house that is not there any more. */
export interface ForgottenSession {
  readonly clientId: string
  /** Messages that wait: an upper bound. */
  readonly backlogCount: number
}

export interface LocalSessionOptions {
  /** The only lane whose messages come, QoS 0 too; the session has its own place in it. Every lane unless given. */
  readonly lane?: Lane | undefined
  /** How much may wait for the session; no limits but those of the log unless given. */
  readonly limits?: QueueLimits | undefined
  /** Where several sessions share a connection. */
  readonly packetIds?: { readonly first: number; readonly last: number } | undefined
}

/** How much of the log may wait for one session. What is over it goes when the session reads on. */
export interface QueueLimits {
  readonly countMax: number
  /** Of topics and payloads. */
  readonly bytesMax: number
  /** `Infinity` = messages do not grow too old. */
  readonly ageMsMax: number
  readonly whenFull: 'drop_oldest' | 'drop_newest'
  /** QoS 0 waits too while nobody is there, or is behind. */
  readonly keepsQos0: boolean
  /** By topic, what of the messages that wait is worth sending; undefined for a topic = all. Everything unless given. */
  readonly keepOf?: ((topic: string) => KeepRule | undefined) | undefined
}

/** `last`: of a topic the newest. `sample`: one in `sampleMs`, and the newest. */
export interface KeepRule {
  readonly keep: 'all' | 'last' | 'sample'
  readonly sampleMs: number
  /** `Infinity` = messages do not grow too old. */
  readonly ageMsMax: number
}

/**
 * Promises:
 * - while attached, messages come in log order, each QoS >= 1 message with a packet id until it is acknowledged.
 * - `attach` first hands out again, as DUP with the same packet id, what was not acknowledged before.
 * - while detached nothing comes, and QoS >= 1 messages wait in the log.
 */
export interface LocalSession {
  readonly clientId: string
  /** What may wait for the session from now on. */
  limit(limits: QueueLimits): void
  /** Replaces the subscriptions of the session by these. */
  subscribe(subscriptions: readonly SubscriptionRequest[]): void
  /** @param inflightMax QoS >= 1 messages handed out and not yet acknowledged, 1 to 65 535 */
  attach(inflightMax: number): void
  detach(): void
  /** Detaches for good: what remains of the session is for `endForgotten`, or for whoever opens it again. */
  close(): void
  acknowledge(packetId: number): void
  /** A QoS 2 message arrived at the other side: it will not be handed out again, and `release` comes in its place. */
  received(packetId: number): void
  /** The consumer can take QoS 0 again, or more bytes. */
  resume(): void
  /**
   * A QoS 2 message with a packet id is taken once, until `released` of that id.
   * @returns the commit to wait for, 0 when nothing had to be stored, undefined when the store takes nothing now
   */
  publish(message: Publish): Ticket | undefined
  /** The other side will not send the QoS 2 message of this packet id again. @returns the commit to wait for */
  released(packetId: number): Ticket
  /** The other side has forgotten which packet ids it used. */
  forgetIncoming(): void
  /** Calls `found` with each retained message that `topicFilter` matches and that has not expired. */
  retained(topicFilter: string, found: (message: Publish) => void): void
  /**
   * The retained topics that `topicFilter` matches, those that were deleted too, with undefined for each step that came
   * upon none, so that the caller may pause. What changes meanwhile may be there or not.
   */
  retainedHistory(topicFilter: string): Generator<RetainedTopic | undefined>
  /** false: a QoS >= 1 message under this topic would be refused now. */
  canPublish(message: Publish): boolean
  /** The commit that everything written so far is in; 0 when all of it is durable. */
  readonly openTicket: Ticket
  /** Hears of what is dropped on purpose before it reaches the consumer. */
  numbering: Numbering | undefined
  /** The remote side will never take this message: it is done with, and stands in the ledger. */
  refuse(packetId: number): void
  /** The last message of its lane, durable or not, while the session has not acknowledged it; undefined when it has. */
  readonly awaitedSeq: Seq | undefined
  /** QoS >= 1 messages in the log that this session has not acknowledged: an upper bound, for people. */
  readonly backlogCount: number
  /** The same in bytes. */
  readonly backlogBytes: number
  /** Answers when the oldest message that may still be for this session was stored; undefined when there is none. */
  oldestAtMs(answer: (atMs: number | undefined) => void): void
}

export interface LocalConsumer {
  /** false: no more for now, until `resume`. QoS 0 is dropped meanwhile. */
  readonly canTake: boolean
  /** QoS >= 1 messages it wants under way at the moment; what `attach` allowed unless given. */
  readonly inflightMax?: number
  /** The other side remembers QoS 2 packet ids when this process ends. */
  readonly outlivesUs?: boolean
  /**
   * @param message shared; the consumer does not change it
   * @param packetId 0 for QoS 0
   * @param seq position in the log; 0 for what was never in it (QoS 0, retained)
   */
  deliver(message: Publish, qos: Qos, retain: boolean, dup: boolean, packetId: number, seq: Seq): void
  /** A QoS 2 message that was `received` is released, until it is acknowledged. */
  release?(packetId: number): void
  onDurable(ticket: Ticket): void
}

/**
 * What parts of the house tell the world by themselves, QoS 0. Values stay for new subscribers, in memory only.
 */
export interface HouseVoice {
  /** A value that stays until the next one. */
  tell(topic: string, payload: string): void
  /** Something that happened. @param payload called only when somebody listens */
  say(topic: string, payload: () => Uint8Array): void
}

/** Recognises messages that peers number: gateways below us, or the broker above a bridge. */
export interface PublishGate {
  /** A peer connected. @param peer not for the broker above a bridge, which asks nothing */
  open(identity: string | undefined, clientId: string, peer?: PeerLink): GateLink
}

/**
 * `unnumbered`: nobody's business. `new`: take it; its number is taken off, and that it came is part of the open group
 * commit. `again`: it was taken before; it is acknowledged once the open group commit is durable, and nothing else
 * happens. `wait`: refuse it for the moment, because one before it was refused.
 */
export type Admission = 'unnumbered' | 'new' | 'again' | 'wait'

/** One connection of a peer that numbers its messages. */
export interface GateLink {
  /**
   * Asked before anybody else sees the message, which is given what came along with it (protocol/crossing.ts). What is
   * admitted must be taken, or turned away.
   * @param durability of what is remembered of it: that of the message
   */
  admit(message: Publish, durability?: Durability): Admission
  /** A question about retained messages. */
  ask(payload: string): void
  /** A topic of the peer's that stands for `topic`, a Response Topic of this broker that the peer cannot publish to. */
  responseTopicFor(topic: string): string
  /** The reverse; undefined when `peerTopic` stands for none. */
  answeredTopic(peerTopic: string): string | undefined
  close(): void
  /** What was admitted last is not taken after all, and never will be. */
  turnedAway(): void
  /** The message was not taken. @param isForGood it never will be */
  refused(message: Publish, isForGood: boolean): void
}
