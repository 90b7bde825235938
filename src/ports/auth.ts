/** Who may come in, and what they may touch. */
import type { ReasonCode } from '../protocol/reason.ts'
import type { ListenerTraits } from './transport.ts'

/** Who a connection has proved to be. */
export interface Principal {
  readonly clientId: string
  readonly username: string | undefined
  /** What the link itself proves, such as the common name of a client certificate. */
  readonly identity: string | undefined
}

export interface ConnectRequest extends Principal {
  readonly password: Buffer | undefined
  readonly remote: string
  readonly listener: ListenerTraits
}

/**
 * Promises:
 * - `answer` is called exactly once, inside the call or later.
 */
export interface Authenticator {
  authenticate(request: ConnectRequest, answer: (reasonCode: ReasonCode) => void): void
}

/**
 * Promises:
 * - both answers are synchronous and cost no more than a lookup: they stand on the publish path.
 */
export interface Authorizer {
  mayPublish(principal: Principal, topic: string): boolean
  maySubscribe(principal: Principal, topicFilter: string): boolean
}
