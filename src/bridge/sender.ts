/**
 * The way up: the lanes of a bridge, and how many messages of each may be under way. Every lane finds room although
 * those below it have all they may have, so a command does not wait behind readings of last week. Within a lane the
 * order of the log is kept.
 *
 *   of the window:   control 100 %   event 90 %   telemetry 80 %   bulk 50 %
 */
import { utcText } from '../lib/utc.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import { aheadFilter, type DelayHolder, isHeldAbove, readAhead } from '../ports/delayed-ahead.ts'
import { Lane, laneNames, lanes } from '../ports/lane.ts'
import type { LocalBroker, LocalSession, QueueLimits } from '../ports/local.ts'
import type { Log } from '../ports/log.ts'
import type { Seq, Ticket } from '../ports/store.ts'
import { hasLastingCopy, readLastingWill, tellWill, willFilter } from '../ports/will-mark.ts'
import { crossingProperties } from '../protocol/crossing.ts'
import type { PublishProperties, Qos, UserProperties } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import { ReasonCode, reasonName } from '../protocol/reason.ts'
import { expectsCommands, neverGaveWay, stepOf, waitMsOf } from './giving-way.ts'
import type { RemoteSide } from './handshake.ts'
import { LaneSender, type Outlet } from './lane-sender.ts'
import type { LoopGuard } from './loop-guard.ts'
import type { Mapping } from './mapping.ts'
import type { Marks } from './marks.ts'
import { isTemporary, type Pacer } from './pacer.ts'
import { withPath } from './path.ts'
import type { Responses } from './responses.ts'
import type { Uplink } from './uplink.ts'

const shares: Readonly<Record<Lane, number>> = {
  [Lane.control]: 1,
  [Lane.event]: 0.9,
  [Lane.telemetry]: 0.8,
  [Lane.bulk]: 0.5,
}

/**
 * Messages of one lane that go in one turn of the event loop. The remote side works on them while more are made ready, and
 * what comes in meanwhile, a command among it, waits for no more than a turn.
 */
const perTurnMax = 64
/** While commands come. Smaller turns cost more for each message, and a command finds less before it on either side. */
const perTurnMaxBesideCommands = 8
/** And for no longer, however slow the machine is, or the code while it is new. */
const turnMsMax = 1

/** Lanes share a connection, so each has packet ids of its own. Those beyond are for SUBSCRIBE. */
const packetIdsPerLane = 16_000

/** Events come first, so that they keep the ids and the session of a bridge that had no lanes. */
const order: readonly Lane[] = [Lane.event, Lane.control, Lane.telemetry, Lane.bulk]

/** The bounds are those of the log (broker/backlog.ts). */
const noLimits: QueueLimits = {
  countMax: Number.POSITIVE_INFINITY,
  bytesMax: Number.POSITIVE_INFINITY,
  ageMsMax: Number.POSITIVE_INFINITY,
  whenFull: 'drop_oldest',
  keepsQos0: false,
}

export interface SenderSettings {
  readonly name: string
  readonly inflightMax: number
  /** Who holds delayed messages of the topics that go up. */
  readonly delayedHolder: DelayHolder
}

export class Sender implements Outlet {
  readonly #clock: Clock
  readonly #log: Log
  readonly #pacer: Pacer
  readonly #loops: LoopGuard
  readonly #responses: Responses
  readonly #uplink: () => Uplink
  readonly #onDurable: (ticket: Ticket) => void
  /** By lane. */
  readonly #lanes: readonly LaneSender[]
  readonly #underWay = new Set<number>()
  #out: Mapping
  readonly #delayedHolder: DelayHolder
  #isPeer = false
  /** How far the timeline of the remote side is ahead of ours; undefined = it does not say. */
  #aheadMs: number | undefined
  #onlineSinceMs = 0
  #waiting: Timer | undefined
  #givingWay = neverGaveWay
  #isResuming = false
  /** When the first message of this turn was sent. */
  #turnSinceMs = 0
  /** Not everything that waits is sent. */
  #isThinning = false
  forwardedCount = 0
  rejectedCount = 0

  constructor(parts: {
    settings: SenderSettings
    epoch: string
    clock: Clock
    log: Log
    local: LocalBroker
    marks: Marks
    pacer: Pacer
    loops: LoopGuard
    responses: Responses
    out: Mapping
    uplink: () => Uplink
    onDurable: (ticket: Ticket) => void
  }) {
    const { settings, epoch, local, marks } = parts
    this.#clock = parts.clock
    this.#log = parts.log
    this.#pacer = parts.pacer
    this.#uplink = parts.uplink
    this.#onDurable = parts.onDurable
    this.#out = parts.out
    this.#delayedHolder = settings.delayedHolder
    this.#loops = parts.loops
    this.#responses = parts.responses
    const { inflightMax } = settings
    this.#lanes = lanes.map((lane) => {
      const first = order.indexOf(lane) * packetIdsPerLane + 1
      const packetIds = { first, last: first + packetIdsPerLane - 1 }
      const name = lane === Lane.event ? settings.name : `${settings.name}/${laneNames[lane]}`
      return new LaneSender({ lane, name, epoch, local, marks, outlet: this, inflightMax, packetIds })
    })
    this.subscribe(parts.out)
  }

  /** What goes up from now on. */
  subscribe(out: Mapping): void {
    this.#out = out
    const holder = this.#delayedHolder
    const wanted = [...out.subscriptions, { topicFilter: this.#responses.filterHere, qos: 1 as const }]
    for (const { topicFilter } of out.subscriptions) wanted.push({ topicFilter: willFilter(topicFilter), qos: 1 })
    if (holder !== 'edge') {
      for (const each of out.subscriptions) wanted.push({ ...each, topicFilter: aheadFilter(holder, each.topicFilter) })
    }
    const subscriptions = wanted.map(({ topicFilter, qos }) => ({
      topicFilter,
      qos,
      // What came in over this bridge does not go back over it.
      noLocal: true,
      retainAsPublished: true,
      retainHandling: 2 as const,
    }))
    const keepOf = out.thins ? (topic: string) => out.keepOf(topic) : undefined
    for (const { session } of this.#lanes) {
      session.subscribe(subscriptions)
      if (out.thins || this.#isThinning) session.limit({ ...noLimits, keepOf })
    }
    this.#isThinning = out.thins
  }

  /** The session that messages of the remote side are published from. */
  get session(): LocalSession {
    return (this.#lanes[Lane.event] as LaneSender).session
  }

  get backlogCount(): number {
    return this.#lanes.reduce((count, { session }) => count + session.backlogCount, 0)
  }

  /** Waiting messages by the name of their lane. */
  get backlogByLane(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#lanes.map(({ lane, session }) => [laneNames[lane], session.backlogCount]))
  }

  get backlogBytes(): number {
    return this.#lanes.reduce((bytes, { session }) => bytes + session.backlogBytes, 0)
  }

  /** Answers when the oldest message that waits was stored; undefined when none waits. */
  oldestAtMs(answer: (atMs: number | undefined) => void): void {
    let left = this.#lanes.length
    let oldest: number | undefined
    for (const { session } of this.#lanes) {
      session.oldestAtMs((atMs) => {
        if (atMs !== undefined) oldest = Math.min(oldest ?? atMs, atMs)
        if (--left === 0) answer(oldest)
      })
    }
  }

  get underWayCount(): number {
    return this.#underWay.size
  }

  /** By lane, the last message that the remote side acknowledged. */
  get ackedSeqs(): readonly Seq[] {
    return this.#lanes.map(({ ackedSeq }) => ackedSeq)
  }

  /** @param remote when it is a Tidegate it knows the numbers of messages */
  attach({ inflightMax, isPeer, aheadMs }: RemoteSide): void {
    this.#isPeer = isPeer
    this.#onlineSinceMs = this.#clock.nowMs()
    this.#aheadMs = isPeer ? aheadMs : undefined
    this.#pacer.connected(inflightMax)
    for (const { session } of this.#lanes) session.attach(inflightMax)
  }

  detach(): void {
    this.#waiting?.cancel()
    this.#waiting = undefined
    this.#underWay.clear()
    for (const lane of this.#lanes) {
      lane.session.detach()
      lane.underWayCount = 0
    }
    this.saveAcked()
  }

  close(): void {
    this.detach()
    for (const { session } of this.#lanes) session.close()
  }

  saveAcked(): void {
    for (const lane of this.#lanes) lane.saveAcked()
  }

  /** There may be room again. The most important lane goes first. */
  resume(): void {
    for (const { session } of this.#lanes) session.resume()
  }

  // ---- Outlet ----

  get canTake(): boolean {
    return this.#uplink().canTake
  }

  /** Towards a Tidegate messages have numbers in place of a QoS 2 handshake. */
  get outlivesUs(): boolean {
    return !this.#isPeer
  }

  roomFor(lane: Lane): number {
    const { turnCount } = this.#lanes[lane] as LaneSender
    const nowMs = this.#clock.nowMs()
    const isUrgent = lane === Lane.control
    const isBesideCommands = !isUrgent && expectsCommands(this.#givingWay, nowMs)
    const ofTurn = (isBesideCommands ? perTurnMaxBesideCommands : perTurnMax) - turnCount
    if (ofTurn <= 0) return 0
    if (turnCount > 0 && nowMs - this.#turnSinceMs > turnMsMax) return 0
    if (!isUrgent) this.#givingWay = stepOf(this.#givingWay, nowMs, this.#lanes[Lane.control]?.session.awaitedSeq)
    const waitMs = Math.max(this.#pacer.waitMs, isUrgent ? 0 : waitMsOf(this.#givingWay, nowMs))
    if (waitMs > 0) {
      this.#waiting ??= this.#clock.after(waitMs, () => {
        this.#waiting = undefined
        this.resume()
      })
      return 0
    }
    const ofWindow = Math.max(1, Math.floor(this.#pacer.window * shares[lane])) - this.#underWay.size
    return Math.max(0, Math.min(ofTurn, ofWindow))
  }

  send(lane: LaneSender, stored: Publish, qos: Qos, retain: boolean, dup: boolean, packetId: number, seq: Seq): void {
    const ahead = readAhead(stored)
    const message = ahead?.message ?? readLastingWill(stored) ?? stored
    const answered = this.#responses.answerUp(message.topic)
    const topic = answered ?? this.#out.map(message.topic)
    const isAbove = this.#delayedHolder !== 'edge' && isHeldAbove(message)
    const crossesOtherwise = isAbove || hasLastingCopy(stored)
    if (topic === undefined || message.publisher === this.session.clientId || crossesOtherwise) {
      // Subscribed by an earlier configuration, and waiting in the log since; or it came from where it would go; or it
      // is there already, or goes there as its copy.
      lane.session.acknowledge(packetId)
      return
    }
    const path = this.#loops.out(message)
    if (path === undefined) {
      lane.session.acknowledge(packetId)
      return
    }
    const sentTopic = ahead === undefined ? topic : this.#delayedTopic(ahead.dueAtMs, topic)
    const mapped = sentTopic === message.topic ? message : message.withTopic(sentTopic)
    const ruled = answered === undefined ? this.#out.qosOf(message.topic, qos) : qos
    const sentQos = ruled === 2 && this.#isPeer ? 1 : ruled
    const isNumbered = sentQos > 0 && seq > 0
    if (sentQos > 0) {
      this.#underWay.add(packetId)
      lane.underWayCount++
    }
    lane.turnCount++
    this.#resumeSoon()
    this.#pacer.sent(sentQos > 0 ? packetId : 0)
    const crossing = this.#isPeer ? this.#crossing(message, ruled, sentQos, retain) : []
    const number = isNumbered ? lane.numbering.number(seq, packetId) : []
    const properties = this.#propertiesFor(message, path, crossing, number)
    if (this.#uplink().publish(mapped, sentQos, retain, dup, packetId, properties)) {
      this.forwardedCount++
      return
    }
    if (isNumbered) lane.numbering.retract(seq, packetId, 'too_large')
    this.#reject(lane, message.topic, packetId, 'larger than the remote broker takes')
  }

  release(packetId: number): void {
    this.#uplink().release(packetId)
  }

  onDurable(lane: LaneSender, ticket: Ticket): void {
    if (lane.lane === Lane.event) this.#onDurable(ticket)
  }

  /** With what is left of the delay, in whole seconds and never too short: the two clocks need not agree. */
  #delayedTopic(dueAtMs: number, topic: string): string {
    return `$delayed/${Math.max(0, Math.ceil((dueAtMs - this.#clock.nowMs()) / 1000))}/${topic}`
  }

  /**
   * What is retained here goes up now, QoS 0: what is lost with the connection is found missing on the next one.
   * @returns false when it has to end here
   */
  sendRetained(message: Publish, topic: string): boolean {
    const path = this.#loops.out(message)
    if (path === undefined) return false
    const qos = this.#out.qosOf(message.topic, message.qos)
    const properties = this.#propertiesFor(message, path, this.#crossing(message, qos, 0, true), [])
    return this.#uplink().publish(message.withTopic(topic), 0, true, false, 0, properties)
  }

  #crossing(message: Publish, qos: Qos, sentQos: Qos, retain: boolean): UserProperties {
    const { changedAtMs } = message
    const isTimed = retain && changedAtMs !== undefined && this.#aheadMs !== undefined
    if (qos === sentQos && !isTimed) return []
    return crossingProperties(qos, sentQos, isTimed ? changedAtMs + (this.#aheadMs ?? 0) : undefined)
  }

  #propertiesFor(
    message: Publish,
    path: readonly string[],
    crossing: UserProperties,
    number: UserProperties,
  ): PublishProperties {
    const userProperties = [...withPath(this.#told(message), path), ...crossing, ...number]
    const isExpiring = message.expiresAtMs !== Number.POSITIVE_INFINITY
    if (message.properties === undefined && !isExpiring) return { userProperties }
    const responseTopic = message.properties?.responseTopic
    return {
      ...message.properties,
      ...(responseTopic !== undefined && { responseTopic: this.#responses.goingUp(responseTopic) }),
      userProperties,
      ...(isExpiring && { messageExpiryInterval: this.#secondsLeft(message) }), // [MQTT-3.3.2-6]
    }
  }

  /** What it says of itself to the other side. */
  #told({ properties }: Publish): UserProperties | undefined {
    const clock = this.#clock
    return tellWill(properties?.userProperties, this.#onlineSinceMs, (atMs) =>
      utcText(clock.wallMs() - Math.max(0, clock.nowMs() - atMs)),
    )
  }

  #secondsLeft({ expiresAtMs }: Publish): number {
    return Math.max(0, Math.ceil((expiresAtMs - this.#clock.nowMs()) / 1000))
  }

  // ---- answers of the remote side ----

  onPubrec(packetId: number): void {
    this.#laneOf(packetId).session.received(packetId)
  }

  /** @returns false when the remote side cannot go on just now */
  onPuback(packetId: number, reasonCode: ReasonCode): boolean {
    const lane = this.#laneOf(packetId)
    if (reasonCode >= 0x80 && isTemporary(reasonCode)) {
      this.#pacer.slowDown()
      return false
    }
    this.#pacer.acknowledged(packetId)
    // A remote side that has forgotten a packet id was done with it: no error while sessions are recovered.
    if (reasonCode >= 0x80 && reasonCode !== ReasonCode.packetIdentifierNotFound) {
      this.#reject(lane, '', packetId, reasonName(reasonCode))
      return true
    }
    this.#settled(lane, packetId)
    lane.ackedSeq = Math.max(lane.ackedSeq, lane.numbering.seqOf(packetId))
    lane.session.acknowledge(packetId)
    this.#resumeSoon()
    return true
  }

  /** Room that one lane leaves is for all, and each turn has room of its own. Once in a turn, whatever it brings. */
  #resumeSoon(): void {
    if (this.#isResuming) return
    this.#isResuming = true
    this.#turnSinceMs = this.#clock.nowMs()
    this.#clock.afterTurn(() => {
      this.#isResuming = false
      for (const lane of this.#lanes) lane.turnCount = 0
      this.resume()
    })
  }

  #settled(lane: LaneSender, packetId: number): void {
    if (this.#underWay.delete(packetId)) lane.underWayCount--
  }

  #reject(lane: LaneSender, topic: string, packetId: number, why: string): void {
    this.rejectedCount++
    this.#log.warn({ topic, packetId, err: why }, 'message rejected by the remote broker')
    if (packetId === 0) return
    this.#settled(lane, packetId)
    lane.session.refuse(packetId)
  }

  #laneOf(packetId: number): LaneSender {
    const lane = order[Math.floor((packetId - 1) / packetIdsPerLane)] ?? Lane.event
    return this.#lanes[lane] as LaneSender
  }
}
