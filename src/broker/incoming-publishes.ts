/**
 * The messages of one client on their way in: alias and mountpoint, Receive Maximum, QoS 2 ids, and what each is
 * acknowledged with (MQTT 5.0 §4.3). Where a message goes is decided in publish.ts.
 */
import type { Principal } from '../ports/auth.ts'
import { mountBridgeTopic } from '../ports/gateway-topics.ts'
import type { GateLink } from '../ports/local.ts'
import { retainedTalk } from '../ports/peer.ts'
import { PacketFault } from '../protocol/fault.ts'
import { PacketType } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import { ReasonCode } from '../protocol/reason.ts'
import type { AckQueue } from './ack-queue.ts'
import type { Core } from './core.ts'
import { mountTopic } from './delayed-topic.ts'
import { InboundAliases } from './inbound-aliases.ts'
import type { Session } from './session.ts'
import { levelCount } from './subscribe.ts'

export class IncomingPublishes {
  readonly #core: Core
  readonly #acks: AckQueue
  readonly #aliases: InboundAliases
  /** Put before every topic. */
  mountpoint = ''
  /** The gateway at the other end, as its topic level; empty for other clients. */
  gateway = ''
  /** Of a gateway. */
  gate: GateLink | undefined

  constructor(core: Core, acks: AckQueue) {
    this.#core = core
    this.#acks = acks
    this.#aliases = new InboundAliases(core.settings.topicAliasMaximum)
  }

  /** What the client publishes is taken as it comes. */
  get isPlain(): boolean {
    return this.mountpoint === '' && this.gateway === '' && this.gate === undefined
  }

  /** PUBLISH. @throws PacketFault */
  receive(received: Publish, session: Session, principal: Principal): void {
    const { store, publishPath } = this.#core
    const { packetId, qos, properties } = received
    const resolved = properties === undefined ? received : this.#aliases.resolve(received, properties)
    if (qos === 2 && session.incomingQos2.has(packetId)) {
      // Sent again because our PUBREC did not arrive; the message itself was taken already [MQTT-4.3.3-10].
      this.#acks.acknowledge(this.#acks.ticketOf(session), PacketType.pubrec, packetId, ReasonCode.success)
      return
    }
    if (qos > 0) this.#checkReceiveMaximum(session)
    if (received.retain && session.version === 5 && this.#core.settings.retainedCountMax === 0) {
      throw new PacketFault(ReasonCode.retainNotSupported, 'MQTT-3.2.2-14', 'nothing is retained here')
    }
    if (this.gate !== undefined && resolved.topic.startsWith(retainedTalk.question)) {
      this.gate.ask(resolved.payload.toString())
      if (qos === 1)
        this.#acks.acknowledge(this.#acks.ticketOf(session), PacketType.puback, packetId, ReasonCode.success)
      if (qos < 2) return
    }
    const bridgeTopic = this.gateway === '' ? undefined : mountBridgeTopic(resolved.topic, this.gateway)
    const answeredTopic = this.gate?.answeredTopic(resolved.topic)
    if (answeredTopic !== undefined) {
      // Whoever asked has said that the answer may be published there.
      publishPath.publish(resolved.withTopic(answeredTopic), undefined, session, this.gate)
    } else if (bridgeTopic === undefined) {
      publishPath.publish(this.#mounted(resolved), principal, session, this.gate)
    } else {
      const aboutBridge = resolved.withTopic(bridgeTopic)
      aboutBridge.retain = false
      publishPath.publish(aboutBridge, undefined, session, undefined)
    }
    if (qos === 0) return
    const { reasonCode, ticket } = publishPath
    if (qos === 1) {
      this.#acks.acknowledge(ticket, PacketType.puback, packetId, reasonCode) // [MQTT-4.3.2-4]
      return
    }
    if (reasonCode >= 0x80) {
      this.#acks.acknowledge(ticket, PacketType.pubrec, packetId, reasonCode)
      return
    }
    session.addIncomingQos2(packetId)
    if (session.isDurable) store.inbox.put(session.clientId, packetId)
    this.#acks.acknowledge(session.isDurable ? store.lastTicket : ticket, PacketType.pubrec, packetId, reasonCode)
  }

  /** PUBREL. */
  release(packetId: number, session: Session): void {
    const isKnown = session.removeIncomingQos2(packetId)
    if (isKnown && session.isDurable) this.#core.store.inbox.release(session.clientId, packetId)
    const reasonCode = isKnown ? ReasonCode.success : ReasonCode.packetIdentifierNotFound
    // Before the release is durable the id must not be used again: a restart would take the new message for the old.
    this.#acks.acknowledge(this.#acks.ticketOf(session), PacketType.pubcomp, packetId, reasonCode) // [MQTT-4.3.3-11]
  }

  #checkReceiveMaximum(session: Session): void {
    if (session.version < 5) return
    if (this.#acks.pubackCount + session.incomingQos2.size < this.#core.settings.receiveMaximum) return
    throw new PacketFault(ReasonCode.receiveMaximumExceeded, 'MQTT-3.3.4-7', 'more than Receive Maximum in flight')
  }

  #mounted(message: Publish): Publish {
    const mounted = this.mountpoint === '' ? message : message.withTopic(mountTopic(this.mountpoint, message.topic))
    const responseTopic = mounted.properties?.responseTopic
    if (responseTopic !== undefined && this.mountpoint !== '') {
      mounted.properties = { ...mounted.properties, responseTopic: this.mountpoint + responseTopic }
    }
    const { topicLevelsMax } = this.#core.settings
    // A topic has fewer levels than characters, so that most need not be counted.
    if (mounted.topic.length >= topicLevelsMax && levelCount(mounted.topic) > topicLevelsMax) {
      throw new PacketFault(ReasonCode.topicNameInvalid, '', 'topic with too many levels')
    }
    return mounted
  }
}
