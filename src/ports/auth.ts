/** Who may come in, and what they may touch. */
import type { ReasonCode } from '../protocol/reason.ts'
import type { ListenerTraits, TopicAccess } from './transport.ts'

/** Who a connection has proved to be. */
export interface Principal {
  readonly clientId: string
  readonly username: string | undefined
  /** What the link itself proves, such as the common name of a client certificate. */
  readonly identity: string | undefined
  /** What its listener lets it touch; undefined = all topics */
  readonly access?: TopicAccess | undefined
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

/** What one step of an exchange came to. */
export type AuthenticationStep =
  | { readonly kind: 'challenge'; readonly data: Buffer | undefined }
  /** @param username whom the client proved to be */
  | { readonly kind: 'proved'; readonly username: string; readonly data: Buffer | undefined }
  | { readonly kind: 'refused'; readonly reasonCode: ReasonCode; readonly why: string }

/**
 * One conversation with one client. Used up when a step proved or refused.
 *
 * Promises:
 * - `answer` is called exactly once for each step, inside the call or later.
 */
export interface AuthenticationExchange {
  /** @param data what the client sent; undefined when it waits to be asked */
  step(data: Buffer | undefined, answer: (step: AuthenticationStep) => void): void
}

/** A way to prove who one is in several steps, such as SCRAM-SHA-256 (MQTT 5.0 §4.12). */
export interface AuthenticationMethod {
  /** As CONNECT names it. */
  readonly name: string
  begin(): AuthenticationExchange
}

/**
 * Promises:
 * - both answers are synchronous and cost no more than a lookup: they stand on the publish path.
 */
export interface Authorizer {
  mayPublish(principal: Principal, topic: string): boolean
  maySubscribe(principal: Principal, topicFilter: string): boolean
}
