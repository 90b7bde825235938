/**
 * SUBSCRIBE and UNSUBSCRIBE of one session (MQTT 5.0 §3.8.4, §3.10.4): one reason code per filter, in order.
 *
 * Where the session is stored, what is asked for may come not to be: then subscriptions are as they were. So one that is
 * given back is in force until that is stored. Nothing is missing if it stays, neither messages that came meanwhile nor
 * what waits for a group of which it is the last member.
 */
import type { Principal } from '../ports/auth.ts'
import { mountBridgeTopic } from '../ports/gateway-topics.ts'
import { PacketFault } from '../protocol/fault.ts'
import type { Subscribe, SubscriptionRequest, Version } from '../protocol/packet.ts'
import { ReasonCode } from '../protocol/reason.ts'
import { isValidTopicFilter } from '../protocol/topic.ts'
import { variableByteCount } from '../protocol/variable-byte-integer.ts'
import type { Core } from './core.ts'
import type { Mount } from './mount.ts'
import type { Feed } from './retained-feed.ts'
import type { Session } from './session.ts'
import { parseShare, shareName } from './share-name.ts'
import type { Subscription } from './subscription.ts'

const granted = [ReasonCode.success, ReasonCode.grantedQos1, ReasonCode.grantedQos2] as const

export interface Subscribed {
  /** One for each filter. */
  readonly reasonCodes: ReasonCode[]
  /** The retained messages to begin with when SUBACK is out. */
  readonly feeds: Feed[]
  readonly changes: Change[]
}

/** A subscription in the place of another one, or of none. */
interface Change {
  readonly former: Subscription | undefined
  readonly made: Subscription
}

/**
 * @param mount its prefix stands before every filter; in a shared subscription before the one inside
 * @param isBridge the client is a mosquitto bridge: retain flags stay as they were published, and nothing comes back
 */
export function subscribe(
  core: Core,
  session: Session,
  principal: Principal,
  packet: Subscribe,
  mount: Mount,
  isBridge: boolean,
): Subscribed {
  const subscribed: Subscribed = { reasonCodes: [], feeds: [], changes: [] }
  const subscriptionIdentifier = packet.properties?.subscriptionIdentifier
  for (const asked of packet.subscriptions) {
    const request = isBridge ? requestOfBridge(asked) : asked
    const reasonCode = subscribeOne(core, session, principal, request, subscriptionIdentifier, mount, subscribed)
    subscribed.reasonCodes.push(reasonCode)
  }
  // A client that comes back asks for what it had: there is nothing to write.
  if (subscribed.changes.some(({ former, made }) => former === undefined || !made.isLike(former))) {
    core.sessions.saveSubscriptions(session)
  }
  return subscribed
}

/** The subscriptions could not be stored: those are back that were there before. The last that were made come first. */
export function takeBack(core: Core, session: Session, { changes }: Subscribed): void {
  for (const { former, made } of changes.toReversed()) {
    if (former === undefined) core.sessions.unsubscribe(session, made.topicFilter)
    else core.sessions.subscribe(session, former.toRecord())
  }
  core.sessions.saveSubscriptions(session)
}

export interface Unsubscribed {
  /** One for each filter. */
  readonly reasonCodes: ReasonCode[]
  readonly leaving: Subscription[]
}

/** `complete` or `stay` comes next. */
export function unsubscribe(core: Core, session: Session, topicFilters: readonly string[], mount: Mount): Unsubscribed {
  const leaving: Subscription[] = []
  const reasonCodes = topicFilters.map((topicFilter) => {
    const subscription = session.subscriptions.get(mounted(topicFilter, mount).name)
    if (subscription === undefined || subscription.isLeaving) return ReasonCode.noSubscriptionExisted
    subscription.isLeaving = true
    leaving.push(subscription)
    return ReasonCode.success
  })
  if (leaving.length > 0) core.sessions.saveSubscriptions(session)
  return { reasonCodes, leaving }
}

/** Stored, or nobody asks any more whether it is. */
export function complete(core: Core, session: Session, { leaving }: Unsubscribed): void {
  for (const subscription of leaving) {
    const { topicFilter } = subscription
    // The client may have subscribed anew since.
    if (session.subscriptions.get(topicFilter) === subscription) core.sessions.unsubscribe(session, topicFilter)
  }
}

/** It could not be stored; what was asked for later is taken back already. */
export function stay(core: Core, session: Session, { leaving }: Unsubscribed): void {
  for (const subscription of leaving) {
    subscription.isLeaving = false
    const isThere = session.subscriptions.get(subscription.topicFilter) === subscription
    if (!isThere) core.sessions.subscribe(session, subscription.toRecord())
  }
  if (leaving.length > 0) core.sessions.saveSubscriptions(session)
}

/** What 5.0 has options for, bridges before 5.0 mean by the bit in their protocol level. */
function requestOfBridge(request: SubscriptionRequest): SubscriptionRequest {
  return { ...request, noLocal: parseShare(request.topicFilter) === undefined, retainAsPublished: true }
}

function subscribeOne(
  core: Core,
  session: Session,
  principal: Principal,
  request: SubscriptionRequest,
  subscriptionIdentifier: number | undefined,
  mount: Mount,
  { feeds, changes }: Subscribed,
): ReasonCode {
  const { name, topicFilter, isShared, isAboutBridge } = mounted(request.topicFilter, mount)
  if (!isValidTopicFilter(topicFilter)) return ReasonCode.topicFilterInvalid
  if (levelCount(topicFilter) > core.settings.topicLevelsMax) return ReasonCode.topicFilterInvalid
  if (!isAboutBridge && !core.authorizer.maySubscribe(principal, topicFilter)) return ReasonCode.notAuthorized
  if (isShared && request.noLocal) {
    throw new PacketFault(ReasonCode.protocolError, 'MQTT-3.8.3-4', 'No Local on a shared subscription')
  }
  const present = session.subscriptions.get(name)
  const former = present?.isLeaving === true ? undefined : present
  const subscription = core.sessions.subscribe(session, {
    topicFilter: name,
    qos: request.qos,
    noLocal: request.noLocal,
    retainAsPublished: request.retainAsPublished,
    retainHandling: request.retainHandling,
    subscriptionIdentifier,
    // Clients subscribe anew after each reconnect; what waits in the log for the same filter still counts.
    sinceSeq: former?.sinceSeq ?? core.store.log.lastSeq,
  })
  changes.push({ former, made: subscription })
  // Which member should get them? So nobody does (MQTT 5.0 §4.8.2).
  if (isShared) return granted[request.qos] as ReasonCode
  if (request.retainHandling === 0 || (request.retainHandling === 1 && former === undefined)) {
    feeds.push(core.retainedFeeds.of(subscription)) // [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
  }
  return granted[request.qos] as ReasonCode
}

interface MountedFilter {
  /** What the subscription is kept under. */
  readonly name: string
  /** What messages are matched with. */
  readonly topicFilter: string
  readonly isShared: boolean
  /** Between a gateway and this broker. */
  readonly isAboutBridge: boolean
}

function mounted(filter: string, { prefix, gateway }: Mount): MountedFilter {
  const aboutBridge = gateway === '' ? undefined : mountBridgeTopic(filter, gateway)
  if (aboutBridge !== undefined) {
    return { name: aboutBridge, topicFilter: aboutBridge, isShared: false, isAboutBridge: true }
  }
  const share = parseShare(filter)
  const topicFilter = prefix + (share?.topicFilter ?? filter)
  const name = share === undefined ? topicFilter : shareName({ shareName: share.shareName, topicFilter })
  return { name, topicFilter, isShared: share !== undefined, isAboutBridge: false }
}

/**
 * SUBACK and UNSUBACK cannot be cut short: a client that takes none so long is told before anything is done.
 * @throws PacketFault packetTooLarge
 */
export function checkAnswerFits(reasonCodeCount: number, peer: { version: Version; packetBytesMax: number }): void {
  if (peer.version < 5) return
  const bodyBytes = 3 + reasonCodeCount
  if (1 + variableByteCount(bodyBytes) + bodyBytes <= peer.packetBytesMax) return
  throw new PacketFault(ReasonCode.packetTooLarge, 'MQTT-3.1.2-24', 'answer beyond the Maximum Packet Size')
}

export function levelCount(topic: string): number {
  let count = 1
  for (let at = topic.indexOf('/'); at >= 0; at = topic.indexOf('/', at + 1)) count++
  return count
}
