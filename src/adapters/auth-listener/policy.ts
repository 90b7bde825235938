/**
 * Access by listener alone: a peer gets in when its link proves who it is, or when the listener lets anybody in.
 * Clients may not publish to topics that begin with `$`: those are the broker's own. But one may say there whether the
 * bridge that it is is up, as bridges of mosquitto do before anything else. All of them may be subscribed to, but for
 * those in which bridges talk: there are messages in them that are for one gateway alone. A listener may name the
 * topics that its peers may touch.
 */
import type { Authenticator, Authorizer } from '../../ports/auth.ts'
import { isAboutBridges } from '../../ports/gateway-topics.ts'
import { ReasonCode } from '../../protocol/reason.ts'
import { filterCovers, topicMatches } from '../../protocol/topic.ts'

export const listenerPolicy: Authenticator & Authorizer = {
  authenticate(request, answer) {
    const { allowAnonymous, requireIdentity } = request.listener
    const isProved = request.identity !== undefined
    const isAllowed = requireIdentity ? isProved : isProved || allowAnonymous
    answer(isAllowed ? ReasonCode.success : ReasonCode.notAuthorized)
  },
  mayPublish: ({ access, clientId }, topic) => {
    if (topic.charCodeAt(0) === dollar) return topic === `$SYS/broker/connection/${clientId}/state`
    return access?.publish === undefined || access.publish.some((filter) => topicMatches(filter, topic))
  },
  maySubscribe: ({ access }, topicFilter) => {
    if (isAboutBridges(topicFilter)) return false
    return access?.subscribe === undefined || access.subscribe.some((filter) => filterCovers(filter, topicFilter))
  },
}

const dollar = 0x24
