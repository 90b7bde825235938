/** SUBSCRIBE and UNSUBSCRIBE of one session (MQTT 5.0 §3.8.4, §3.10.4): one reason code per filter, in order. */
import type { Principal } from '../ports/auth.ts'
import type { Subscribe, SubscriptionRequest } from '../protocol/packet.ts'
import { ReasonCode } from '../protocol/reason.ts'
import { isValidTopicFilter } from '../protocol/topic.ts'
import type { Core } from './core.ts'
import { Recipient } from './router.ts'
import type { Session } from './session.ts'
import type { Subscription } from './subscription.ts'

const granted = [ReasonCode.success, ReasonCode.grantedQos1, ReasonCode.grantedQos2] as const

/** @param mountpoint put before every filter */
export function subscribe(
  core: Core,
  session: Session,
  principal: Principal,
  packet: Subscribe,
  mountpoint: string,
): ReasonCode[] {
  const reasonCodes: ReasonCode[] = []
  for (const request of packet.subscriptions) {
    reasonCodes.push(
      subscribeOne(core, session, principal, request, packet.properties?.subscriptionIdentifier, mountpoint),
    )
  }
  core.sessions.save(session)
  return reasonCodes
}

export function unsubscribe(
  core: Core,
  session: Session,
  topicFilters: readonly string[],
  mountpoint: string,
): ReasonCode[] {
  const reasonCodes = topicFilters.map((topicFilter) =>
    core.sessions.unsubscribe(session, mountpoint + topicFilter)
      ? ReasonCode.success
      : ReasonCode.noSubscriptionExisted,
  )
  core.sessions.save(session)
  return reasonCodes
}

function subscribeOne(
  core: Core,
  session: Session,
  principal: Principal,
  request: SubscriptionRequest,
  subscriptionIdentifier: number | undefined,
  mountpoint: string,
): ReasonCode {
  if (request.topicFilter.startsWith('$share/')) return ReasonCode.sharedSubscriptionsNotSupported
  const topicFilter = mountpoint + request.topicFilter
  if (!isValidTopicFilter(topicFilter)) return ReasonCode.topicFilterInvalid
  if (levelCount(topicFilter) > core.settings.topicLevelsMax) return ReasonCode.topicFilterInvalid
  if (!core.authorizer.maySubscribe(principal, topicFilter)) return ReasonCode.notAuthorized
  const former = session.subscriptions.get(topicFilter)
  const subscription = core.sessions.subscribe(session, {
    topicFilter,
    qos: request.qos,
    noLocal: request.noLocal,
    retainAsPublished: request.retainAsPublished,
    retainHandling: request.retainHandling,
    subscriptionIdentifier,
    // Clients subscribe anew after each reconnect; what waits in the log for the same filter still counts.
    sinceSeq: former?.sinceSeq ?? core.store.log.lastSeq,
  })
  if (request.retainHandling === 0 || (request.retainHandling === 1 && former === undefined)) {
    sendRetained(core, subscription)
  }
  return granted[request.qos] as ReasonCode
}

/** [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] */
function sendRetained(core: Core, subscription: Subscription): void {
  const recipient = new Recipient(subscription)
  const nowMs = core.clock.nowMs()
  core.retained.match(subscription.topicFilter, (message) => {
    if (message.expiresAtMs > nowMs) core.delivery.retained(recipient, message)
    else core.retained.expire(message)
  })
}

export function levelCount(topic: string): number {
  let count = 1
  for (let at = topic.indexOf('/'); at >= 0; at = topic.indexOf('/', at + 1)) count++
  return count
}
