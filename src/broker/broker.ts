/**
 * The broker: owns every table and wires the parts of this folder to one another and to the ports. It holds no
 * socket, clock or file; whoever made it calls `tick` a few times a second.
 *
 *   new Broker(ports) -> load() -> accept links ... -> stop() -> close the store
 */
import { must } from '../lib/assert.ts'
import type { Failure } from '../lib/errors.ts'
import { TimerWheel } from '../lib/timer-wheel.ts'
import type { AuthenticationMethod, Authenticator, Authorizer } from '../ports/auth.ts'
import type { Clock } from '../ports/clock.ts'
import { logScope } from '../ports/ledger.ts'
import {
  bridgeSessions,
  type ForgottenSession,
  type HouseVoice,
  type LocalBroker,
  type LocalConsumer,
  type LocalSession,
  type LocalSessionOptions,
  type PublishGate,
} from '../ports/local.ts'
import type { Log } from '../ports/log.ts'
import type { Random } from '../ports/random.ts'
import type { Damage, HandedOver, Mark, Store, StoreOwner, Ticket } from '../ports/store.ts'
import type { Acceptor, Link, LinkOwner, ListenerTraits } from '../ports/transport.ts'
import { lastingWill, markWill } from '../ports/will-mark.ts'
import { ReasonCode } from '../protocol/reason.ts'
import { Alarms } from './alarms.ts'
import { Backlog } from './backlog.ts'
import { Connection } from './connection.ts'
import type { Core } from './core.ts'
import { Counters } from './counters.ts'
import { DelayedMessages } from './delayed.ts'
import { Delivery } from './deliver.ts'
import { FlushQueue } from './flush-queue.ts'
import { HouseTopics } from './house-topics.ts'
import { LaneRules } from './lane-rules.ts'
import { Ledger, type LossSummary } from './ledger.ts'
import { LocalClient } from './local-session.ts'
import { PublishPath } from './publish.ts'
import { RetainedTable } from './retained.ts'
import { RetainedFeeds } from './retained-feed.ts'
import { Router } from './router.ts'
import type { Session } from './session.ts'
import { SessionTable } from './sessions.ts'
import type { BrokerSettings } from './settings.ts'
import { ShareTable } from './share.ts'
import { isShared } from './share-name.ts'
import { SysTopics } from './sys-topics.ts'

/** Resolution of keep-alives, expiries and will delays. */
const wheelTickMs = 100

/** How often cursors are stored and the log is trimmed. */
const cursorIntervalMs = 1000

/** While the first two last, the store takes no messages. */
const storeAlarms = {
  full: 'disk_full',
  failed: 'store_failed',
  slow: 'disk_slow',
  damaged: 'store_damaged',
} as const

export class Broker implements Acceptor, LocalBroker, StoreOwner {
  readonly #core: Core
  readonly #shares: ShareTable
  readonly #router: Router
  readonly #topics: HouseTopics
  readonly alarms: Alarms
  readonly #localClients = new Set<LocalClient>()
  #nextCursorsMs = 0
  /** Sessions that passed over messages in this turn. */
  readonly #passing = new Set<Session>()

  constructor(parts: {
    settings: BrokerSettings
    clock: Clock
    random: Random
    log: Log
    store: Store
    authenticator: Authenticator
    authorizer: Authorizer
    authenticationMethods: readonly AuthenticationMethod[]
    gate: PublishGate | undefined
  }) {
    const { clock, store, settings } = parts
    const log = parts.log.child({ part: 'broker' })
    const counters = new Counters()
    const router = new Router({
      add: (subscription) => this.#shares.add(subscription),
      remove: (subscription) => this.#shares.remove(subscription),
    })
    this.#router = router
    const wheel = new TimerWheel(wheelTickMs, clock.nowMs())
    const retained = new RetainedTable(store.retained, {
      countMax: settings.retainedCountMax,
      bytesMax: settings.retainedBytesMax,
      payloadBytesMax: settings.retainedPayloadBytesMax,
      deletedCountMax: settings.deletedCountMax,
    })
    const ledger = new Ledger(store.ledger, clock)
    const laneRules = new LaneRules(settings.laneRules, settings.laneDurabilities)
    const delivery = new Delivery({ clock, log, store, router, counters, ledger, laneRules })
    const backlog = new Backlog({
      clock,
      log,
      messages: store.log,
      counters,
      ledger,
      settings,
      onDropped: () => {
        for (const session of sessions) session.forgetCount()
      },
    })
    const delays = new DelayedMessages({ store: store.delays, clock, counters, limits: settings.delayLimits })
    const publishPath = new PublishPath({ ...parts, router, retained, delivery, counters, laneRules, backlog, delays })
    const sessions = new SessionTable({
      clock,
      wheel,
      store,
      router,
      delivery,
      counters,
      ledger,
      settings,
      publishWill: (message, session) => {
        const isForBridge = router.match(message.topic).some((to) => to.session.clientId.startsWith(bridgeSessions))
        if (isForBridge) markWill(message, clock.nowMs())
        publishPath.publish(message, undefined, session, undefined)
        if (isForBridge && message.qos === 0) publishPath.setAside(lastingWill(message), session)
      },
    })
    this.#core = {
      settings,
      clock,
      random: parts.random,
      log,
      store,
      authenticator: parts.authenticator,
      authorizer: parts.authorizer,
      authenticationMethods: new Map(parts.authenticationMethods.map((method) => [method.name, method])),
      gate: parts.gate,
      epoch: '',
      wheel,
      counters,
      ledger,
      sessions,
      retained,
      retainedFeeds: new RetainedFeeds(clock, retained, delivery, settings.retainedMessagesPerSecondMax),
      delivery,
      laneRules,
      backlog,
      delays,
      publishPath,
      flushQueue: new FlushQueue(clock),
      sysTopics: undefined,
      connections: new Set(),
      relays: new Set(),
      awaitingDurable: new Set(),
    }
    ledger.onDrop = ({ scope, lane, firstSeq, lastSeq, count = lastSeq - firstSeq + 1, reason }) => {
      for (const session of scope === logScope ? sessions : [sessions.find(scope)]) {
        if (session?.numbering === undefined || (session.lane ?? lane) !== lane) continue
        session.numbering.skip(firstSeq, lastSeq, count, reason)
      }
      if (scope !== logScope) this.#savePlace(sessions.find(scope))
    }
    this.#shares = new ShareTable(this.#core)
    this.#topics = new HouseTopics({ router, retained, publishPath })
    this.alarms = new Alarms({ clock, log, topics: this.#topics, nodeName: settings.sys?.nodeName })
    if (settings.sys !== undefined) {
      this.#core.sysTopics = new SysTopics({
        settings: settings.sys,
        clock,
        messages: store.log,
        counters,
        router,
        shares: this.#shares,
        retained,
        topics: this.#topics,
      })
    }
    store.bind(this)
  }

  get counters(): Counters {
    return this.#core.counters
  }

  /** For parts of the house that tell of themselves. */
  get voice(): HouseVoice {
    return this.#topics
  }

  /** Messages that wait for their time. */
  get delays(): DelayedMessages {
    return this.#core.delays
  }

  /** What was dropped on purpose. */
  get losses(): LossSummary {
    return this.#core.ledger.summary()
  }

  /**
   * Takes over what the store kept. Before it resolves no link may be accepted.
   * @param onMark gets the high-water marks, which are the gate's
   * @returns the epoch of the log
   */
  async load(onMark: (key: string, mark: Mark) => void): Promise<string> {
    const { store, sessions, retained, ledger } = this.#core
    let epoch: string | undefined
    let damage: Damage | undefined
    await store.load({
      onEpoch: (loaded) => {
        epoch = loaded
        this.#core.epoch = loaded
        ledger.restoreEpoch(loaded)
      },
      onDamage: (found) => {
        damage = found
      },
      onLoss: (record) => ledger.restore(record),
      onDelay: (record) => this.#core.delays.restore(record),
      onMark,
      onSession: (record) => sessions.restore(record),
      onInbox: (clientId, packetId) => sessions.restoreInbox(clientId, packetId),
      onRetained: (publish) => retained.restore(publish),
    })
    if (damage !== undefined) this.#report(damage)
    this.#shares.open()
    return must(epoch, 'epoch of the log')
  }

  accept(link: Link, traits: ListenerTraits): LinkOwner {
    return new Connection(this.#core, link, traits)
  }

  onRefused(): void {
    this.counters.linksRefused++
  }

  /** What stands in the ledger is not passed over, and counted, again after a crash: both are in one commit. */
  #savePlace(session: Session | undefined): void {
    if (session === undefined) return
    if (this.#passing.size === 0) {
      this.#core.clock.afterTurn(() => {
        const { sessions } = this.#core
        for (const each of this.#passing) if (sessions.find(each.clientId) === each) sessions.save(each)
        this.#passing.clear()
      })
    }
    this.#passing.add(session)
  }

  openSession(clientId: string, consumer: LocalConsumer, options: LocalSessionOptions = {}): LocalSession {
    const client = new LocalClient(this.#core, clientId, consumer, options, (closed) => {
      this.#localClients.delete(closed)
    })
    this.#localClients.add(client)
    return client
  }

  endForgotten(keptSeconds: number): readonly ForgottenSession[] {
    const { sessions, store, delivery } = this.#core
    const owned = new Set([...this.#localClients].map(({ clientId }) => clientId))
    const kept: ForgottenSession[] = []
    for (const session of [...sessions]) {
      const { clientId } = session
      // Groups of shared subscriptions are looked after where they are.
      if (!clientId.startsWith('$') || isShared(clientId) || owned.has(clientId)) continue
      const { lastSeq, messageCount } = store.log
      const backlogCount = Math.min(lastSeq - session.cursor(delivery.routedSeq), messageCount)
      if (backlogCount > 0 && session.subscriptions.size > 0) {
        sessions.limit(session, keptSeconds)
        kept.push({ clientId, backlogCount })
      } else {
        sessions.end(session)
      }
    }
    return kept
  }

  isRelay(clientId: string): boolean {
    return clientId.startsWith(bridgeSessions) || this.#core.relays.has(clientId)
  }

  tell(topic: string, payload: string): void {
    const { sys } = this.#core.settings
    if (sys !== undefined) this.#topics.tell(`$SYS/brokers/${sys.nodeName}/${topic}`, payload)
  }

  /** Runs what is due. Called every 100 ms or so. */
  tick(): void {
    const nowMs = this.#core.clock.nowMs()
    const { delays, publishPath, sessions, wheel } = this.#core
    wheel.advance(nowMs)
    delays.tick(nowMs, (message) => publishPath.release(message, sessions.find(message.publisher)))
    this.#core.sysTopics?.tick(nowMs)
    this.#core.retainedFeeds.tick()
    const losses = this.#core.ledger.dueSummary(nowMs)
    if (losses !== undefined) this.#topics.tell(this.#core.settings.lossTopic, losses)
    if (nowMs < this.#nextCursorsMs) return
    this.#refuseOverdue(nowMs)
    this.#nextCursorsMs = nowMs + cursorIntervalMs
    this.#trimLog()
    this.#router.dropStaleRoutes()
  }

  /** SUBACK and UNSUBACK do not wait for the store for ever. */
  #refuseOverdue(nowMs: number): void {
    const { awaitingDurable, log, settings } = this.#core
    let count = 0
    const waitMs = settings.subscribeWaitMsMax
    for (const acks of awaitingDurable) count += acks.refuseOverdue(nowMs - waitMs)
    if (count > 0) log.warn({ count, waitMs }, 'changes of subscriptions refused, the store did not take them in time')
  }

  beforeCommit(): void {
    this.#core.sessions.cursors.joinCommit()
  }

  onDurable(ticket: Ticket): void {
    for (const acks of this.#core.awaitingDurable) {
      if (!acks.onDurable(ticket)) this.#core.awaitingDurable.delete(acks)
    }
    for (const client of this.#localClients) client.onDurable(ticket)
    this.#core.delivery.onDurable()
  }

  onFailure(failure: Failure): void {
    // Refusing new durable messages keeps what is acknowledged safe; QoS 0 carries no promise and still flows.
    const isFull = failure.code === 'ERR_STORE_FULL' || failure.code === 'ERR_STORE_SPACE'
    this.alarms.raise(isFull ? storeAlarms.full : storeAlarms.failed, failure.line, { code: failure.code })
  }

  onRecovered(): void {
    this.alarms.clear(storeAlarms.full)
    this.alarms.clear(storeAlarms.failed)
  }

  onSlow(durationMs: number | undefined): void {
    if (durationMs === undefined) {
      this.alarms.clear(storeAlarms.slow)
      return
    }
    const message = `the disk takes ${Math.round(durationMs)} ms for a commit`
    this.alarms.raise(storeAlarms.slow, message, { durationMs: Math.round(durationMs) })
  }

  onHandOver(clientId: string): HandedOver | undefined {
    return this.#core.sessions.handOver(clientId)
  }

  /** What is in memory is whole, whatever the file was: it is written again. */
  onDamage(damage: Damage): void {
    this.#report(damage)
    const { retained, sessions, store } = this.#core
    for (const session of sessions) {
      sessions.save(session)
      if (session.isDurable) for (const packetId of session.incomingQos2) store.inbox.put(session.clientId, packetId)
    }
    retained.saveAll()
    this.#core.ledger.saveAll()
    this.#core.delays.saveAll()
  }

  /** The alarm stays until the next start: somebody should look at the disk. */
  #report({ asidePath, salvagedRowCount, holes }: Damage): void {
    const message =
      asidePath === undefined
        ? 'the store was deleted while the broker ran; a copy stands in its place'
        : `the store was damaged; what could be read is in a new one, the damaged one is ${asidePath}`
    this.alarms.raise(storeAlarms.damaged, message, { asidePath, salvagedRowCount, holes })
    for (const hole of holes) {
      this.#core.ledger.droppedRange({ reason: 'quarantined', scope: logScope, ...hole, count: undefined })
    }
  }

  /** Says goodbye to every client and gives the store all it must keep. The caller closes the store afterwards. */
  stop(): void {
    const { connections, sessions } = this.#core
    this.#shares.pause()
    for (const connection of [...connections]) connection.close(ReasonCode.serverShuttingDown, 'shutting down')
    for (const client of this.#localClients) client.detach()
    this.#shares.endEmpty()
    for (const session of sessions) sessions.save(session)
    this.#trimLog()
  }

  /** Takes out of the log what nobody needs, and what is over its bounds. */
  #trimLog(): void {
    const { backlog, sessions } = this.#core
    backlog.trim(sessions.cursors.save())
  }
}
