/**
 * Extended authentication of one client, with the method that its CONNECT named (MQTT 5.0 §4.12): whose turn it is, and
 * whether what comes belongs there. Begun by CONNECT, and anew by each AUTH that asks for it while the connection is open.
 *
 *   idle --begin--> ours --challenge--> theirs --AUTH 0x18--> ours ... --proved or refused--> idle
 */
import type { AuthenticationExchange, AuthenticationMethod, AuthenticationStep } from '../ports/auth.ts'
import { PacketFault } from '../protocol/fault.ts'
import { type Auth, PacketType } from '../protocol/packet.ts'
import { ReasonCode } from '../protocol/reason.ts'

export class ExtendedAuthentication {
  readonly #method: AuthenticationMethod
  #exchange: AuthenticationExchange | undefined
  #isOurTurn = false
  /** Whom the client proved to be; empty until then. */
  username = ''

  constructor(method: AuthenticationMethod) {
    this.#method = method
  }

  begin(data: Buffer | undefined, answer: (step: AuthenticationStep) => void): void {
    this.#exchange = this.#method.begin()
    this.#step(this.#exchange, data, answer)
  }

  /** @throws PacketFault protocolError when it is not the client's turn, or the method is another one */
  receive(auth: Auth, answer: (step: AuthenticationStep) => void): void {
    if (auth.properties?.authenticationMethod !== this.#method.name) {
      throw protocolFault('MQTT-4.12.0-5', 'AUTH with another method than CONNECT') // [MQTT-4.12.1-1]
    }
    const data = auth.properties.authenticationData
    if (auth.reasonCode === ReasonCode.reAuthenticate && this.#exchange === undefined) {
      this.begin(data, answer)
    } else if (auth.reasonCode === ReasonCode.continueAuthentication && this.#exchange && !this.#isOurTurn) {
      this.#step(this.#exchange, data, answer)
    } else {
      throw protocolFault('MQTT-4.12.0-3', 'AUTH out of turn') // [MQTT-4.12.0-3]
    }
  }

  /** Of every AUTH to the client, and of the CONNACK that lets it in [MQTT-4.12.0-5]. */
  properties(authenticationData: Buffer | undefined): {
    authenticationMethod: string
    authenticationData: Buffer | undefined
  } {
    return { authenticationMethod: this.#method.name, authenticationData }
  }

  /** A question to the client [MQTT-4.12.0-2], or the end of an authentication while the connection is open. */
  packet(reasonCode: ReasonCode, data: Buffer | undefined): Auth {
    return { type: PacketType.auth, reasonCode, properties: this.properties(data) }
  }

  #step(exchange: AuthenticationExchange, data: Buffer | undefined, answer: (step: AuthenticationStep) => void): void {
    this.#isOurTurn = true
    exchange.step(data, (step) => {
      this.#isOurTurn = false
      if (step.kind !== 'challenge') this.#exchange = undefined
      answer(step)
    })
  }
}

function protocolFault(clause: string, detail: string): PacketFault {
  return new PacketFault(ReasonCode.protocolError, clause, detail)
}
