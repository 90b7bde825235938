/**
 * Access by listener alone: a peer gets in when its link proves who it is, or when the listener lets anybody in.
 * Clients may not publish to topics that begin with `$`: those are the broker's own.
 */
import type { Authenticator, Authorizer } from '../../ports/auth.ts'
import { ReasonCode } from '../../protocol/reason.ts'

export const listenerPolicy: Authenticator & Authorizer = {
  authenticate(request, answer) {
    const { allowAnonymous, requireIdentity } = request.listener
    const isProved = request.identity !== undefined
    const isAllowed = requireIdentity ? isProved : isProved || allowAnonymous
    answer(isAllowed ? ReasonCode.success : ReasonCode.notAuthorized)
  },
  mayPublish: (_principal, topic) => topic.charCodeAt(0) !== dollar,
  maySubscribe: () => true,
}

const dollar = 0x24
