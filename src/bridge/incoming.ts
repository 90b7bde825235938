/**
 * What comes from the remote side: which of it comes in, what it is called here, and when it is acknowledged. A message
 * is acknowledged once the local commit is durable, in the order of what came; the other direction is sender.ts.
 */
import { RingQueue } from '../lib/ring-queue.ts'
import type { GateLink, LocalSession } from '../ports/local.ts'
import type { Ticket } from '../ports/store.ts'
import { type AckType, PacketType } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import type { RemoteSide } from './handshake.ts'
import type { LoopGuard } from './loop-guard.ts'
import { Mapping, type MappingRule } from './mapping.ts'
import type { GatewayReceiver } from './receiver.ts'
import type { Responses } from './responses.ts'
import type { Uplink } from './uplink.ts'

export interface IncomingSettings {
  readonly name: string
  readonly in: readonly MappingRule[]
}

export interface IncomingParts {
  readonly settings: IncomingSettings
  /** Recognises what the remote side sends again. */
  readonly receiver: GatewayReceiver
  readonly loops: LoopGuard
  readonly responses: Responses
  readonly session: LocalSession
  readonly uplink: () => Uplink
  /** What the broker above says about the bridge itself. @param isNew it was not taken before */
  readonly onBridgeMessage: (message: Publish, isNew: boolean) => void
}

const noRoom = 'the local store takes nothing now'

export class Incoming {
  /** Of all connections. */
  receivedCount = 0
  readonly #parts: IncomingParts
  #mapping: Mapping
  /** The connection, as the receiving end of numbered messages. */
  #gate: GateLink
  /** Acknowledgements that wait for the local commit. */
  readonly #acks = new RingQueue<{ readonly ticket: Ticket; readonly packetId: number; readonly type: AckType }>(65_535)
  #isPeer = false
  /** How far the timeline of the remote side is ahead of ours. */
  #aheadMs = 0

  constructor(parts: IncomingParts) {
    this.#parts = parts
    this.#mapping = new Mapping(parts.settings.in, 'in')
    this.#gate = this.#openGate()
  }

  /** New rules. */
  map(rules: readonly MappingRule[]): void {
    this.#mapping = new Mapping(rules, 'in')
  }

  /** A connection is about to begin. */
  greet(): void {
    this.#acks.clear()
    this.#gate = this.#openGate()
  }

  #openGate(): GateLink {
    return this.#parts.receiver.open(undefined, `$bridge/${this.#parts.settings.name}`)
  }

  online({ isPeer, isSessionPresent, aheadMs }: RemoteSide): void {
    this.#isPeer = isPeer
    this.#aheadMs = aheadMs ?? 0
    if (!isSessionPresent) this.#parts.session.forgetIncoming()
  }

  onMessage(message: Publish): void {
    if (this.#isPeer && message.topic.startsWith('$bridge/')) {
      this.#onBridgeMessage(message)
      return
    }
    this.receivedCount++
    const { packetId, qos } = message
    const { loops, session } = this.#parts
    const topic = loops.in(message) ? this.#topicOf(message) : undefined
    const mapped = topic === undefined ? undefined : message.withTopic(topic)
    if (qos > 0 && mapped !== undefined && !session.canPublish(mapped)) {
      // Nothing may be recognised later that is refused now.
      this.#retreat()
      return
    }
    const admission = this.#gate.admit(mapped ?? message)
    if (mapped !== undefined) this.#adopt(mapped, message)
    const ticket = mapped === undefined || admission === 'again' ? 0 : session.publish(mapped)
    if (packetId === 0) return
    // A numbered message is acknowledged once it is known that it came.
    const due = admission === 'unnumbered' ? ticket : session.openTicket
    if (due === undefined || admission === 'wait') this.#retreat()
    else this.#acknowledge(packetId, qos === 2 ? PacketType.pubrec : PacketType.puback, due)
  }

  /** What the topic of a message is called here; undefined when it does not come in. */
  #topicOf({ topic }: Publish): string | undefined {
    return this.#parts.responses.answerDown(topic) ?? this.#mapping.map(topic)
  }

  /** Makes what came along with a message ours: QoS within the rule, time on our timeline, Response Topic of our side. */
  #adopt(mapped: Publish, { topic, qos }: Publish): void {
    const { responses } = this.#parts
    responses.comeDown(mapped)
    if (mapped.qos > qos) {
      if (responses.answerDown(topic) === undefined) mapped.qos = this.#mapping.qosOf(topic, mapped.qos)
      // The packet id is that of the message on the wire, which has no handshake.
      mapped.packetId = 0
    }
    if (mapped.changedAtMs !== undefined) mapped.changedAtMs -= this.#aheadMs
  }

  #onBridgeMessage(message: Publish): void {
    const { packetId } = message
    const admission = packetId === 0 ? 'unnumbered' : this.#gate.admit(message)
    if (admission === 'wait') {
      this.#retreat()
      return
    }
    this.#parts.onBridgeMessage(message, admission !== 'again')
    if (packetId !== 0) this.#acknowledge(packetId, PacketType.puback, this.#parts.session.openTicket)
  }

  onPubrel(packetId: number): void {
    this.#acknowledge(packetId, PacketType.pubcomp, this.#parts.session.released(packetId))
  }

  #retreat(): void {
    this.#parts.uplink().retreat(noRoom)
  }

  /** In the order of what is acknowledged, each once its commit is durable. */
  #acknowledge(packetId: number, type: AckType, ticket: Ticket): void {
    if (ticket === 0 && this.#acks.length === 0) this.#parts.uplink().acknowledge(packetId, type)
    else this.#acks.push({ ticket, packetId, type })
  }

  onDurable(ticket: Ticket): void {
    for (let next = this.#acks.peek(); next !== undefined && next.ticket <= ticket; next = this.#acks.peek()) {
      this.#acks.shift()
      this.#parts.uplink().acknowledge(next.packetId, next.type)
    }
  }
}
