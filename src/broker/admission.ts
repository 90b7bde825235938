/**
 * From CONNECT to a session: is this client let in, as whom, and whose is its session (MQTT 5.0 §3.1.4, §4.12). Every
 * answer from outside may come later; what came of it is told as a step.
 *
 *   authenticating --proved--> claiming --the session is ours--> granted
 *      |       ^        |          |
 *  question   AUTH      +----------+--> refused
 *      v       |
 *    challenged
 *
 * authenticating, claiming: nothing of the client is read until the answer is there. challenged: its AUTH is waited for.
 */
import { must, unreachable } from '../lib/assert.ts'
import type { AuthenticationStep, ConnectRequest, Principal } from '../ports/auth.ts'
import { gatewayLevel } from '../ports/gateway-topics.ts'
import type { Link, ListenerTraits } from '../ports/transport.ts'
import type { Auth, Connect } from '../protocol/packet.ts'
import { ReasonCode } from '../protocol/reason.ts'
import type { Core } from './core.ts'
import { ExtendedAuthentication } from './extended-authentication.ts'
import { type Mount, mayPublishWill, mountedWill, mountpointOf } from './mount.ts'
import { type Agreement, negotiate } from './negotiate.ts'
import { reasonToGoElsewhere } from './redirect.ts'
import type { SessionRequest } from './sessions.ts'
import { levelCount } from './subscribe.ts'

export type AdmissionStep =
  | { readonly kind: 'challenge'; readonly auth: Auth }
  /** @property why empty = the code says it all */
  | {
      readonly kind: 'refused'
      readonly reasonCode: ReasonCode
      readonly why: string
      readonly serverReference: string | undefined
    }
  | { readonly kind: 'granted'; readonly admitted: Admitted }

/** All that is known of a client that may open its session. */
export interface Admitted {
  readonly connect: Connect
  readonly agreement: Agreement
  readonly mount: Mount
  readonly principal: Principal
  /** undefined when CONNECT named no method. */
  readonly extended: ExtendedAuthentication | undefined
  /** What the method says last, with CONNACK. */
  readonly authenticationData: Buffer | undefined
  readonly request: SessionRequest
  readonly epoch: number
}

export class Admission {
  at: 'authenticating' | 'challenged' | 'claiming' = 'authenticating'
  readonly #core: Core
  readonly #link: Link
  readonly #traits: ListenerTraits
  readonly #connect: Connect
  readonly #tell: (step: AdmissionStep) => void
  /** undefined when CONNECT named no method. */
  #extended: ExtendedAuthentication | undefined

  /** @param tell hears of each step, inside a call or later; a refusal and a grant are the last */
  constructor(core: Core, link: Link, traits: ListenerTraits, connect: Connect, tell: (step: AdmissionStep) => void) {
    this.#core = core
    this.#link = link
    this.#traits = traits
    this.#connect = connect
    this.#tell = tell
  }

  begin(): void {
    const { clientId, properties, version, will } = this.#connect
    const { redirect, retainedCountMax, topicLevelsMax } = this.#core.settings
    const elsewhere = reasonToGoElsewhere(redirect)
    if (elsewhere !== undefined) {
      this.#refuse(elsewhere, '', redirect?.serverReference)
    } else if (clientId.startsWith('$')) {
      this.#refuse(ReasonCode.clientIdentifierNotValid, 'client identifiers of the broker itself begin with $')
    } else if (will !== undefined && levelCount(will.topic) > topicLevelsMax) {
      this.#refuse(ReasonCode.topicNameInvalid, `will topic of more than ${topicLevelsMax} levels`)
    } else if (will?.retain && version === 5 && retainedCountMax === 0) {
      this.#refuse(ReasonCode.retainNotSupported, 'nothing is retained here') // [MQTT-3.2.2-13]
    } else if (properties?.authenticationMethod === undefined) {
      this.#askAuthenticator()
    } else {
      this.#beginExtended(properties.authenticationMethod, properties.authenticationData)
    }
  }

  /**
   * The answer of a challenged client.
   * @throws PacketFault as of ExtendedAuthentication
   */
  receive(auth: Auth): void {
    this.at = 'authenticating'
    must(this.#extended, 'method of a challenged client').receive(auth, (step) => this.#onStep(step))
  }

  #askAuthenticator(): void {
    const { username } = this.#connect
    const request = new Question(this.#connect, this.#link, this.#traits)
    this.#core.authenticator.authenticate(request, (reasonCode) => {
      if (reasonCode === ReasonCode.success) this.#claim(username, undefined)
      else this.#refuse(reasonCode)
    })
  }

  #beginExtended(methodName: string, data: Buffer | undefined): void {
    const method = this.#core.authenticationMethods.get(methodName)
    if (method === undefined) {
      this.#refuse(ReasonCode.badAuthenticationMethod) // [MQTT-4.12.0-1]
    } else if (this.#traits.requireIdentity && this.#link.identity === undefined) {
      this.#refuse(ReasonCode.notAuthorized)
    } else {
      this.#extended = new ExtendedAuthentication(method)
      this.#extended.begin(data, (step) => this.#onStep(step))
    }
  }

  #onStep(step: AuthenticationStep): void {
    const extended = must(this.#extended, 'method of the client')
    switch (step.kind) {
      case 'proved':
        this.#claim(step.username, step.data)
        return
      case 'challenge':
        this.at = 'challenged'
        this.#tell({ kind: 'challenge', auth: extended.packet(ReasonCode.continueAuthentication, step.data) })
        return
      case 'refused':
        this.#refuse(step.reasonCode, step.why) // [MQTT-4.12.0-4]
        return
      default:
        unreachable(step)
    }
  }

  /** The client is who it says: what it may do is agreed, and the store is asked for its session. */
  #claim(username: string | undefined, authenticationData: Buffer | undefined): void {
    const core = this.#core
    const connect = this.#connect
    const { identity } = this.#link
    const agreement = negotiate(connect, core.settings, () => `auto-${core.random.hex(12)}`)
    const { clientId } = agreement
    const prefix = mountpointOf(this.#traits, identity ?? clientId)
    if (prefix === undefined) {
      this.#refuse(ReasonCode.notAuthorized, 'identity with a slash or a wildcard')
      return
    }
    const principal = { clientId, username, identity, access: this.#traits.access }
    const mount = { prefix, gateway: this.#traits.acceptsGateways ? gatewayLevel(identity ?? clientId) : '' }
    if (connect.will !== undefined && !mayPublishWill(core.authorizer, principal, connect.will, mount)) {
      this.#refuse(ReasonCode.notAuthorized, 'will topic that the client may not publish to')
      return
    }
    const request = {
      clientId,
      version: connect.version,
      cleanStart: connect.cleanStart,
      expiryIntervalSeconds: agreement.expiryIntervalSeconds,
      will: connect.will && mountedWill(connect.will, mount),
    }
    this.at = 'claiming'
    core.sessions.claim(clientId, (claim) => {
      if (claim.kind === 'unavailable') {
        this.#refuse(ReasonCode.serverUnavailable, claim.failure.message)
        return
      }
      const extended = this.#extended
      const { epoch } = claim
      const admitted = { connect, agreement, mount, principal, extended, authenticationData, request, epoch }
      this.#tell({ kind: 'granted', admitted })
    })
  }

  #refuse(reasonCode: ReasonCode, why = '', serverReference?: string): void {
    this.#tell({ kind: 'refused', reasonCode, why, serverReference })
  }
}

/** What the authenticator is asked. */
class Question implements ConnectRequest {
  readonly clientId: string
  readonly username: string | undefined
  readonly password: Buffer | undefined
  readonly identity: string | undefined
  readonly listener: ListenerTraits
  readonly #link: Link

  constructor({ clientId, username, password }: Connect, link: Link, listener: ListenerTraits) {
    this.clientId = clientId
    this.username = username
    this.password = password
    this.identity = link.identity
    this.listener = listener
    this.#link = link
  }

  /** A system call, for those who want to know it. */
  get remote(): string {
    return this.#link.remote
  }
}
