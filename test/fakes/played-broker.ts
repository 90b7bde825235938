/** A broker at one address of which a test says each packet, and what it was sent. */
import { Failure } from '../../src/lib/errors.ts'
import type { Dialer, DialOutcome } from '../../src/ports/transport.ts'
import { Cursor } from '../../src/protocol/cursor.ts'
import { decodePacket } from '../../src/protocol/decode.ts'
import { encodePacket } from '../../src/protocol/encode.ts'
import { PacketFault } from '../../src/protocol/fault.ts'
import { FrameDecoder } from '../../src/protocol/frame.ts'
import { OutputBuffer } from '../../src/protocol/output.ts'
import {
  type Connack,
  type Connect,
  type ControlPacket,
  PacketType,
  type Subscribe,
  type Unsubscribe,
  type Version,
} from '../../src/protocol/packet.ts'
import { decodeConnect } from '../../src/protocol/packets/connect.ts'
import { decodePublish, encodePublish, Publish, TopicMemo } from '../../src/protocol/packets/publish.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { PipeLink } from './pipe-link.ts'
import type { VirtualClock } from './virtual-clock.ts'

export class PlayedBroker implements Dialer {
  readonly address: string
  readonly links: PipeLink[] = []
  isReachable = true
  version: Version = 5
  #frames = new FrameDecoder(1_000_000)
  #inbox: (ControlPacket | Publish)[] = []

  readonly #clock: VirtualClock

  constructor(address: string, clock: VirtualClock) {
    this.address = address
    this.#clock = clock
  }

  dial(outcome: DialOutcome): { abort(): void } {
    const timer = this.#clock.after(0, () => {
      if (!this.isReachable) {
        outcome.onFailed(new Failure('ERR_DIAL', this.address))
        return
      }
      const link = new PipeLink(this.address)
      this.links.push(link)
      this.#frames = new FrameDecoder(1_000_000)
      this.#inbox = []
      link.owner = outcome.onConnected(link)
    })
    return { abort: () => timer.cancel() }
  }

  get link(): PipeLink {
    return this.links.at(-1) as PipeLink
  }

  take(type: PacketType): ControlPacket | Publish | undefined {
    this.#frames.push(this.link.take())
    while (this.#frames.next()) {
      const { header, bytes, start, end } = this.#frames
      if (header >> 4 === PacketType.publish) {
        this.#inbox.push(decodePublish(bytes, start, end, header & 15, this.version, new TopicMemo()).own())
        continue
      }
      if (header >> 4 === PacketType.connect) {
        this.#inbox.push(decodeConnect(new Cursor(bytes, start, end)))
        continue
      }
      const packet = decodePacket(header, bytes, start, end, this.version)
      if (packet instanceof PacketFault) throw packet
      this.#inbox.push(packet)
    }
    const index = this.#inbox.findIndex((packet) => packet.type === type)
    return index < 0 ? undefined : this.#inbox.splice(index, 1)[0]
  }

  send(packet: ControlPacket): void {
    const output = new OutputBuffer()
    encodePacket(output, packet, this.version)
    this.link.deliver(Buffer.concat(output.take()))
  }

  publish(topic: string, qos: 0 | 1 | 2, packetId: number, dup = false): void {
    const output = new OutputBuffer()
    const message = Publish.create({ topic, payload: 'x' })
    encodePublish(output, message, this.version, qos, false, dup, packetId, undefined, Number.POSITIVE_INFINITY)
    this.link.deliver(Buffer.concat(output.take()))
  }

  connack(more: Partial<Connack> = {}): Connect {
    const connect = this.take(PacketType.connect) as Connect
    this.send({
      type: PacketType.connack,
      sessionPresent: false,
      reasonCode: ReasonCode.success,
      properties: undefined,
      ...more,
    })
    return connect
  }

  /** Grants what was asked for, and tells what it was. */
  suback(): string[] {
    const subscribe = this.take(PacketType.subscribe) as Subscribe | undefined
    if (subscribe === undefined) return []
    const reasonCodes = subscribe.subscriptions.map(({ qos }) => qos as ReasonCode)
    this.send({ type: PacketType.suback, packetId: subscribe.packetId, reasonCodes, properties: undefined })
    return subscribe.subscriptions.map(({ topicFilter }) => topicFilter)
  }

  unsuback(reasonCode: ReasonCode = ReasonCode.success): readonly string[] {
    const unsubscribe = this.take(PacketType.unsubscribe) as Unsubscribe | undefined
    if (unsubscribe === undefined) return []
    const { packetId, topicFilters } = unsubscribe
    const reasonCodes = topicFilters.map(() => reasonCode)
    this.send({ type: PacketType.unsuback, packetId, reasonCodes, properties: undefined })
    return topicFilters
  }
}
