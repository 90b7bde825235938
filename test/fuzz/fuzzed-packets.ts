/** Packets that make sense, and what broken devices and hostile people make of them. All of it follows from the seed. */
import { decodePacket } from '../../src/protocol/decode.ts'
import { type Ack, PacketType, type Qos, type Version } from '../../src/protocol/packet.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import type { SeededRandom } from '../fakes/seeded-random.ts'
import { malformedFixtures } from '../fixtures/malformed-packets.ts'
import { packetFixtures } from '../fixtures/packets.ts'
import { type AnyPacket, encodeFrame } from '../fixtures/wire.ts'

export const authenticationMethod = 'steps'

const clientIds = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
const topics = ['a', 'a/b', 'a/b/c', 'b', '/', '$SYS/x', 'a//b', 'x'.repeat(300)]
const filters = ['#', '+', 'a/#', '+/b', 'a/b', 'b', '$share/g/a/#', '$queue/#', '$SYS/#', '/+', '$share/h/b']
const interesting = [0x00, 0x01, 0x02, 0x04, 0x0b, 0x10, 0x23, 0x26, 0x7f, 0x80, 0xc0, 0xff]
const oddCodes = [
  ReasonCode.success,
  ReasonCode.success,
  ReasonCode.quotaExceeded,
  ReasonCode.unspecifiedError,
] as const
const seeds = [...packetFixtures, ...malformedFixtures].map(({ bytes }) => bytes)

export class FuzzedPackets {
  readonly #random: SeededRandom

  constructor(random: SeededRandom) {
    this.#random = random
  }

  pick<T>(items: readonly T[]): T {
    return items[this.#random.below(items.length)] as T
  }

  /** true once in `count` times. */
  oneIn(count: number): boolean {
    return this.#random.below(count) === 0
  }

  connect(version: Version): Buffer {
    const isV5 = version === 5
    const will = {
      topic: this.pick(topics),
      payload: Buffer.from('will'),
      qos: this.#qos(),
      retain: this.oneIn(4),
      properties: isV5 && this.oneIn(2) ? { willDelayInterval: this.#random.below(5) } : undefined,
    }
    const properties = {
      sessionExpiryInterval: this.pick([undefined, 0, 5, 0xffff_ffff]),
      receiveMaximum: this.pick([undefined, 1, 3]),
      maximumPacketSize: this.pick([undefined, undefined, 20, 100]),
      topicAliasMaximum: this.pick([undefined, 0, 2]),
      requestProblemInformation: this.pick([undefined, 0, 1] as const),
      authenticationMethod: this.oneIn(6) ? authenticationMethod : undefined,
    }
    return encodeFrame(
      {
        type: PacketType.connect,
        version,
        isBridge: !isV5 && this.oneIn(6),
        cleanStart: this.oneIn(2),
        keepAliveSeconds: this.pick([0, 1, 60]),
        clientId: this.pick(clientIds),
        username: undefined,
        password: undefined,
        will: this.oneIn(3) ? will : undefined,
        properties: isV5 ? properties : undefined,
      },
      version,
    )
  }

  /** A packet that a client may send while it is connected. */
  packet(version: Version): Buffer {
    return encodeFrame(this.#packet(version), version)
  }

  /** What a client answers to `packet` of the broker; now and then something else. */
  answer(packet: { type: PacketType; packetId?: number; qos?: Qos }, version: Version): Buffer | undefined {
    if (this.oneIn(10)) return undefined
    const packetId = this.oneIn(30) ? this.#packetId() : (packet.packetId ?? 1)
    const type = this.oneIn(100) ? this.pick([4, 5, 6, 7] as const) : answerTo(packet)
    if (type === undefined) return undefined
    const reasonCode = type === PacketType.puback || type === PacketType.pubrec ? this.pick(oddCodes) : 0
    const ack: Ack = { type, packetId, reasonCode: version === 5 ? reasonCode : 0, properties: undefined }
    return encodeFrame(ack, version)
  }

  /** Any fixture, legal or not, of whatever version. */
  stray(): Buffer {
    return this.pick(seeds)
  }

  mutated(frame: Buffer): Buffer {
    let bytes = Buffer.from(frame)
    for (let count = this.pick([1, 1, 1, 2, 4]); count > 0; count--) {
      const at = this.#random.below(bytes.length + 1)
      const to = at + this.#random.below(8)
      switch (this.#random.below(7)) {
        case 0:
          bytes = bytes.subarray(0, at)
          break
        case 1:
          bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([this.#byte()]), bytes.subarray(at)])
          break
        case 2:
          bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)])
          break
        case 3:
          bytes = Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)])
          break
        case 4:
          bytes = Buffer.concat([bytes.subarray(0, at), this.stray().subarray(this.#random.below(6))])
          break
        default:
          if (at < bytes.length) bytes[at] = this.#byte()
      }
    }
    return bytes
  }

  #packet(version: Version): AnyPacket {
    const isV5 = version === 5
    const packetId = this.#packetId()
    switch (this.#random.below(10)) {
      case 0:
      case 1: {
        const subscriptions = Array.from({ length: 1 + this.#random.below(3) }, () => {
          const topicFilter = this.pick(filters)
          return {
            topicFilter,
            qos: this.#qos(),
            noLocal: isV5 && this.oneIn(4) && !topicFilter.startsWith('$'),
            retainAsPublished: isV5 && this.oneIn(2),
            retainHandling: isV5 ? this.pick([0, 1, 2] as const) : (0 as const),
          }
        })
        const subscriptionIdentifier = this.oneIn(2) ? 1 + this.#random.below(300) : undefined
        return {
          type: PacketType.subscribe,
          packetId,
          subscriptions,
          properties: isV5 ? { subscriptionIdentifier } : undefined,
        }
      }
      case 2: {
        const topicFilters = [this.pick(filters)]
        return { type: PacketType.unsubscribe, packetId, topicFilters, properties: undefined }
      }
      case 3:
        return { type: PacketType.pingreq }
      case 4:
        return { type: PacketType.pubrel, packetId, reasonCode: 0, properties: undefined }
      case 5: {
        if (!isV5 || !this.oneIn(3)) return this.#publish(version, packetId)
        const reasonCode = this.pick([ReasonCode.continueAuthentication, ReasonCode.reAuthenticate])
        return { type: PacketType.auth, reasonCode, properties: { authenticationMethod } }
      }
      case 6: {
        if (!this.oneIn(4)) return this.#publish(version, packetId)
        const reasonCode = isV5 && this.oneIn(2) ? ReasonCode.disconnectWithWill : ReasonCode.success
        const properties = isV5 && this.oneIn(2) ? { sessionExpiryInterval: this.#random.below(4) } : undefined
        return { type: PacketType.disconnect, reasonCode, properties }
      }
      default:
        return this.#publish(version, packetId)
    }
  }

  #publish(version: Version, packetId: number): AnyPacket {
    const qos = this.#qos()
    const topicAlias = this.oneIn(3) ? 1 + this.#random.below(5) : undefined
    const properties = { topicAlias, messageExpiryInterval: this.oneIn(4) ? this.#random.below(3) : undefined }
    return {
      type: PacketType.publish,
      topic: version === 5 && topicAlias !== undefined && this.oneIn(2) ? '' : this.pick(topics),
      qos,
      retain: this.oneIn(5),
      dup: qos > 0 && this.oneIn(4),
      packetId: qos === 0 ? 0 : packetId,
      payload: Buffer.alloc(this.pick([0, 1, 10, 10, 200]), 'p'),
      properties: version === 5 ? properties : undefined,
    }
  }

  #qos(): Qos {
    return this.pick([0, 1, 2] as const)
  }

  #packetId(): number {
    return this.oneIn(8) ? 1 + this.#random.below(65_535) : 1 + this.#random.below(6)
  }

  #byte(): number {
    return this.oneIn(2) ? this.pick(interesting) : this.#random.below(256)
  }
}

function answerTo({ type, qos }: { type: PacketType; qos?: Qos }): Ack['type'] | undefined {
  if (type === PacketType.publish) return qos === 0 ? undefined : qos === 1 ? PacketType.puback : PacketType.pubrec
  if (type === PacketType.pubrec) return PacketType.pubrel
  return type === PacketType.pubrel ? PacketType.pubcomp : undefined
}

/** Whether a broker would take `frame` for the CONNECT of a client, and of which version. */
export function versionOfConnect(header: number, bytes: Buffer, start: number, end: number): Version | undefined {
  if (header >> 4 !== PacketType.connect) return undefined
  const packet = decodePacket(header, bytes, start, end, undefined)
  return 'version' in packet ? packet.version : undefined
}
