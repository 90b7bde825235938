/** The limits and choices of the broker core. Every number is a bound; config/schema.ts documents the defaults. */
import type { QueueLimits } from '../ports/local.ts'
import type { Durability } from '../ports/store.ts'
import type { DelayLimits } from './delayed.ts'
import type { LaneLimits, LaneRule } from './lane-rules.ts'
import type { Redirect } from './redirect.ts'
import type { ShareStrategy } from './share-strategy.ts'
import type { SysSettings } from './sys-topics.ts'

export interface BrokerSettings {
  /** Largest packet that is accepted, in bytes, fixed header included. */
  readonly packetBytesMax: number
  /** QoS >= 1 messages that may be on their way to one client. */
  readonly inflightMax: number
  /** QoS >= 1 messages that one client may have on their way to us [MQTT-3.3.4-7]. */
  readonly receiveMaximum: number
  /** Messages waiting in memory for one client whose session is not durable. */
  readonly queueCountMax: number
  /** Bytes on their way to one client beyond which QoS 0 is dropped and QoS >= 1 waits. */
  readonly outputBytesMax: number
  readonly sessionExpirySecondsMax: number
  /** For clients before 5.0 that ask to keep their session. */
  readonly sessionExpirySecondsV3: number
  readonly connectTimeoutMs: number
  /** SUBACK of a durable session waits for the store no longer than this. */
  readonly subscribeWaitMsMax: number
  /** 0 = the client's choice stands. */
  readonly keepAliveSecondsMax: number
  readonly topicLevelsMax: number
  /** Topic aliases a client may use towards us, and we towards a client that allows as many. */
  readonly topicAliasMaximum: number
  /** What clients get that ask for Response Information, with `{client_id}` in it; undefined = nothing. */
  readonly responseInformation: string | undefined
  /** undefined = nobody is sent elsewhere. */
  readonly redirect: Redirect | undefined
  /** Which member of a group comes first for a message. */
  readonly sharedSubscriptionStrategy: ShareStrategy
  /** Retained messages; beyond it a new topic is delivered and not kept. */
  readonly retainedCountMax: number
  /** Of one retained payload. */
  readonly retainedPayloadBytesMax: number
  /** Of all retained payloads together. */
  readonly retainedBytesMax: number
  /** To new subscriptions, of all clients together; Infinity = as many as they take. */
  readonly retainedMessagesPerSecondMax: number
  /** Deletions of retained messages that are remembered for brokers above and below that missed them. */
  readonly deletedCountMax: number
  /** The first whose filter matches decides. */
  readonly laneRules: readonly LaneRule[]
  /** By lane. */
  readonly laneLimits: readonly LaneLimits[]
  readonly laneDurabilities: readonly Durability[]
  readonly delayLimits: DelayLimits
  /** Of each durable session. */
  readonly queueLimits: QueueLimits
  /** Messages, and bytes of them, that the log keeps for sessions that lag, in all lanes; beyond it the oldest go. */
  readonly backlogCountMax: number
  readonly backlogBytesMax: number
  /** Where the summary of the ledger is published. */
  readonly lossTopic: string
  /** undefined = nothing is published below $SYS. */
  readonly sys: SysSettings | undefined
}
