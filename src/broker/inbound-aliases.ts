/** The topic aliases of one client, and the properties of its PUBLISH that end at this hop (MQTT 5.0 §3.3.2.3.4). */
import { PacketFault } from '../protocol/fault.ts'
import type { PublishProperties } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import { ReasonCode } from '../protocol/reason.ts'

export class InboundAliases {
  readonly #maximum: number
  /** By alias; index 0 is unused. Made when the client uses its first. */
  #topics: (string | undefined)[] | undefined

  /** @param maximum Topic Alias Maximum that CONNACK told the client; 0 = none */
  constructor(maximum: number) {
    this.#maximum = maximum
  }

  /**
   * The message with its real topic and without the alias. `received` has properties.
   * @throws PacketFault for an alias that is out of range or unknown, and for a subscription identifier
   */
  resolve(received: Publish, properties: PublishProperties): Publish {
    const { topicAlias } = properties
    if (properties.subscriptionIdentifiers !== undefined) {
      throw new PacketFault(ReasonCode.protocolError, 'MQTT-3.3.4-6', 'Subscription Identifier from a client') // [MQTT-3.3.4-6]
    }
    if (topicAlias === undefined) return received
    const { topicAlias: _alias, ...rest } = properties
    received.properties = Object.values(rest).some((value) => value !== undefined) ? rest : undefined
    if (topicAlias > this.#maximum) {
      throw new PacketFault(ReasonCode.topicAliasInvalid, 'MQTT-3.3.2-9', `topic alias ${topicAlias}`) // [MQTT-3.3.2-9]
    }
    this.#topics ??= new Array(this.#maximum + 1).fill(undefined)
    if (received.topic !== '') {
      this.#topics[topicAlias] = received.topic
      return received
    }
    const topic = this.#topics[topicAlias]
    if (topic === undefined) throw new PacketFault(ReasonCode.protocolError, '', `topic alias ${topicAlias} is unknown`)
    return received.withTopic(topic)
  }
}
