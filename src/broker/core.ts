/** What every connection shares: the parts of one broker, wired once in broker.ts. */
import type { TimerWheel } from '../lib/timer-wheel.ts'
import type { AuthenticationMethod, Authenticator, Authorizer } from '../ports/auth.ts'
import type { Clock } from '../ports/clock.ts'
import type { PublishGate } from '../ports/local.ts'
import type { Log } from '../ports/log.ts'
import type { Random } from '../ports/random.ts'
import type { Store } from '../ports/store.ts'
import type { AckQueue } from './ack-queue.ts'
import type { Backlog } from './backlog.ts'
import type { Connection } from './connection.ts'
import type { Counters } from './counters.ts'
import type { DelayedMessages } from './delayed.ts'
import type { Delivery } from './deliver.ts'
import type { FlushQueue } from './flush-queue.ts'
import type { LaneRules } from './lane-rules.ts'
import type { Ledger } from './ledger.ts'
import type { PublishPath } from './publish.ts'
import type { RetainedTable } from './retained.ts'
import type { RetainedFeeds } from './retained-feed.ts'
import type { SessionTable } from './sessions.ts'
import type { BrokerSettings } from './settings.ts'
import type { SysTopics } from './sys-topics.ts'

export interface Core {
  readonly settings: BrokerSettings
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly store: Store
  /** Identity of the log; known once the store is loaded. */
  epoch: string
  readonly authenticator: Authenticator
  readonly authorizer: Authorizer
  /** By name. */
  readonly authenticationMethods: ReadonlyMap<string, AuthenticationMethod>
  readonly gate: PublishGate | undefined
  readonly wheel: TimerWheel
  readonly counters: Counters
  readonly ledger: Ledger
  readonly sessions: SessionTable
  readonly retained: RetainedTable
  readonly retainedFeeds: RetainedFeeds
  readonly delivery: Delivery
  readonly laneRules: LaneRules
  readonly backlog: Backlog
  readonly delays: DelayedMessages
  readonly publishPath: PublishPath
  readonly flushQueue: FlushQueue
  /** undefined when nothing is published below $SYS. Set before the first link is accepted. */
  sysTopics: SysTopics | undefined
  /** Every connection that is not closed. */
  readonly connections: Set<Connection>
  /** Clients that are bridges of mosquitto, by their private protocol level. */
  readonly relays: Set<string>
  /** Acknowledgements that wait for a group commit. */
  readonly awaitingDurable: Set<AckQueue>
}
