/**
 * What a bridge says about itself to the broker above: a birth when it is online, a will that is ready should it be
 * lost, a farewell when it leaves on purpose. Each connection has a number, so that what comes late is known as old.
 */

import { bridgeProperty, stateTopic } from '../ports/gateway-topics.ts'
import type { PublishProperties, UserProperties, Will } from '../protocol/packet.ts'
import { Publish } from '../protocol/packets/publish.ts'
import type { Greeting } from './handshake.ts'
import type { Marks } from './marks.ts'
import { epochProperty, formatEpoch, type GatewayState, stateProperty, untilProperty } from './presence.ts'

export interface HeraldSettings {
  readonly name: string
  readonly clientId: string
  /** false: the remote broker is told nothing. */
  readonly notifications: boolean
  /** How long the remote broker waits for us to come back before it calls us lost. */
  readonly lostAfterSeconds: number
}

export class Herald {
  readonly #settings: HeraldSettings
  readonly #log: string
  readonly #boot: number
  readonly #topic: string
  #connection = 0

  /** @param log identity of the local log */
  constructor(settings: HeraldSettings, log: string, marks: Marks) {
    this.#settings = settings
    this.#log = log
    this.#topic = stateTopic(settings.clientId)
    const key = `bridge/${settings.name}/boot`
    const former = marks.get(key)
    this.#boot = former?.epoch === log ? former.seq + 1 : 1
    marks.set(key, { epoch: log, seq: this.#boot })
  }

  /** For the next CONNECT. */
  greet(): Greeting {
    this.#connection++
    const { notifications, lostAfterSeconds } = this.#settings
    const will: Will = {
      topic: this.#topic,
      payload: Buffer.from('0'),
      qos: 1,
      retain: true,
      properties: { willDelayInterval: lostAfterSeconds, userProperties: this.#facts('lost') },
    }
    return { will: notifications ? will : undefined, userProperties: [[bridgeProperty, '1']] }
  }

  /** The message that says `state`; undefined when the remote broker is to be told nothing. */
  tell(state: GatewayState, until?: string): Publish | undefined {
    if (!this.#settings.notifications) return undefined
    const facts = this.#facts(state)
    const userProperties = until === undefined ? facts : [...facts, [untilProperty, until] as const]
    const properties: PublishProperties = { userProperties }
    return Publish.create({ topic: this.#topic, payload: state === 'online' ? '1' : '0', retain: true, properties })
  }

  #facts(state: GatewayState): UserProperties {
    const epoch = formatEpoch({ log: this.#log, boot: this.#boot, connection: this.#connection })
    return [
      [stateProperty, state],
      [epochProperty, epoch],
    ]
  }
}
