/**
 * PUBLISH, the packet that decides what a broker costs (MQTT 5.0 §3.3).
 *
 * A Publish is the packet and, from the connection on, also the application message: one object for its whole way
 * through the house. Topic and payload stay where they were received (`bytes`, borrowed) until the message outlives
 * the turn; `own` then copies both once.
 */
import { malformed, protocolError } from '../fault.ts'
import { type OutputBuffer, passage, referenceBytesMin } from '../output.ts'
import { PacketType, type PublishProperties, type Qos, type Version } from '../packet.ts'
import { decodeProperties, encodeProperties, propertiesByteCount } from '../property.ts'
import { readTopicName } from '../topic.ts'
import {
  readVariableByteInteger,
  variableByteCount,
  variableByteIntegerMax,
  writeVariableByteInteger,
} from '../variable-byte-integer.ts'
import { PublishImage } from './publish-image.ts'

export class Publish {
  readonly type = PacketType.publish
  topic: string
  qos: Qos
  retain: boolean
  dup: boolean
  /** 0 for QoS 0. */
  packetId: number
  properties: PublishProperties | undefined
  /** Point on the broker's timeline at which the message expires; `Infinity` = never. */
  expiresAtMs = Number.POSITIVE_INFINITY
  /**
   * Point on the broker's timeline at which a message with the retain flag was set, wherever that was; undefined until
   * the broker takes it.
   */
  changedAtMs: number | undefined = undefined
  /** Client id of the publisher, for No Local; empty for messages made inside the house. */
  publisher = ''
  /** Several clients get it now: what was encoded for one is copied for the next. */
  isForMany = false
  /** Holds topic and payload. Borrowed from the receiver until `own`. */
  bytes: Buffer
  topicStart: number
  topicEnd: number
  payloadStart: number
  payloadEnd: number
  isOwned: boolean

  constructor(
    topic: string,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    properties: PublishProperties | undefined,
    bytes: Buffer,
    topicStart: number,
    topicEnd: number,
    payloadStart: number,
    payloadEnd: number,
    isOwned: boolean,
  ) {
    this.topic = topic
    this.qos = qos
    this.retain = retain
    this.dup = dup
    this.packetId = packetId
    this.properties = properties
    this.bytes = bytes
    this.topicStart = topicStart
    this.topicEnd = topicEnd
    this.payloadStart = payloadStart
    this.payloadEnd = payloadEnd
    this.isOwned = isOwned
  }

  get payloadByteCount(): number {
    return this.payloadEnd - this.payloadStart
  }

  /** A view: borrowed unless `isOwned`. */
  get payload(): Buffer {
    return this.bytes.subarray(this.payloadStart, this.payloadEnd)
  }

  /** Copies topic and payload, once, so that the message may outlive the chunk it came in. */
  own(): this {
    if (this.isOwned) return this
    const topicBytes = this.topicEnd - this.topicStart
    const payloadBytes = this.payloadEnd - this.payloadStart
    const owned = Buffer.allocUnsafe(topicBytes + payloadBytes)
    this.bytes.copy(owned, 0, this.topicStart, this.topicEnd)
    this.bytes.copy(owned, topicBytes, this.payloadStart, this.payloadEnd)
    this.bytes = owned
    this.topicStart = 0
    this.topicEnd = topicBytes
    this.payloadStart = topicBytes
    this.payloadEnd = topicBytes + payloadBytes
    this.isOwned = true
    return this
  }

  /** The same message under another topic, with bytes of its own. */
  withTopic(topic: string): Publish {
    const topicBytes = Buffer.byteLength(topic)
    const bytes = Buffer.allocUnsafe(topicBytes + this.payloadByteCount)
    bytes.write(topic, 0, 'utf8')
    this.bytes.copy(bytes, topicBytes, this.payloadStart, this.payloadEnd)
    const copy = new Publish(
      topic,
      this.qos,
      this.retain,
      this.dup,
      this.packetId,
      this.properties,
      bytes,
      0,
      topicBytes,
      topicBytes,
      bytes.length,
      true,
    )
    copy.expiresAtMs = this.expiresAtMs
    copy.changedAtMs = this.changedAtMs
    copy.publisher = this.publisher
    return copy
  }

  /** A message made inside the house. `payload` is copied. */
  static create(message: {
    topic: string
    payload: Uint8Array | string
    qos?: Qos
    retain?: boolean
    properties?: PublishProperties | undefined
  }): Publish {
    const payload = typeof message.payload === 'string' ? Buffer.from(message.payload) : message.payload
    const topicBytes = Buffer.byteLength(message.topic)
    const bytes = Buffer.allocUnsafe(topicBytes + payload.length)
    bytes.write(message.topic, 0, 'utf8')
    bytes.set(payload, topicBytes)
    return new Publish(
      message.topic,
      message.qos ?? 0,
      message.retain ?? false,
      false,
      0,
      message.properties,
      bytes,
      0,
      topicBytes,
      topicBytes,
      bytes.length,
      true,
    )
  }
}

const none = Buffer.alloc(0)

/** The topic a connection published to last: devices repeat themselves, and a compare is cheaper than a string. */
export class TopicMemo {
  topic = ''
  /** The bytes of `topic`, in a buffer that is used again for as long as topics fit. */
  #bytes: Buffer = none
  #byteCount = 0

  /** The topic in `bytes[start..end)` as a string, valid as a topic name. @throws PacketFault */
  read(bytes: Buffer, start: number, end: number, version: Version): string {
    const known = this.#bytes
    const byteCount = end - start
    if (byteCount === this.#byteCount && byteCount > 0) {
      let at = 0
      while (at < byteCount && known[at] === bytes[start + at]) at++
      if (at === byteCount) return this.topic
    }
    this.topic = readTopicName(bytes, start, end, version)
    if (byteCount > known.length) this.#bytes = Buffer.allocUnsafeSlow(byteCount)
    copyBytes(bytes, start, end, this.#bytes, 0)
    this.#byteCount = byteCount
    return this.topic
  }
}

/**
 * Reads the frame body `bytes[start..end)`. The topic may be empty in 5.0, where an alias stands for it.
 * @param flags low half of the fixed header
 * @throws PacketFault
 */
export function decodePublish(
  bytes: Buffer,
  start: number,
  end: number,
  flags: number,
  version: Version,
  memo: TopicMemo,
): Publish {
  const qos = (flags >> 1) & 3
  const dup = (flags & 8) !== 0
  if (qos === 3) throw malformed('MQTT-3.3.1-4', 'PUBLISH with QoS 3') // [MQTT-3.3.1-4]
  if (dup && qos === 0) throw malformed('MQTT-3.3.1-2', 'PUBLISH QoS 0 with DUP') // [MQTT-3.3.1-2]
  const topicStart = start + 2
  if (topicStart > end) throw malformed('', 'PUBLISH without topic length')
  const topicEnd = topicStart + (((bytes[start] as number) << 8) | (bytes[start + 1] as number))
  if (topicEnd > end) throw malformed('', 'PUBLISH topic runs past the packet')
  const topic = topicEnd === topicStart && version === 5 ? '' : memo.read(bytes, topicStart, topicEnd, version)
  let at = topicEnd
  let packetId = 0
  if (qos > 0) {
    if (at + 2 > end) throw malformed('', 'PUBLISH without packet identifier')
    packetId = ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
    if (packetId === 0) throw malformed('MQTT-2.2.1-3', 'packet identifier 0') // [MQTT-2.2.1-3]
    at += 2
  }
  let properties: PublishProperties | undefined
  if (version === 5) {
    if (at < end && bytes[at] === 0) {
      at++
    } else {
      const length = readVariableByteInteger(bytes, at, end)
      const from = at + variableByteCount(length)
      at = from + length
      if (at > end) throw malformed('', 'PUBLISH properties run past the packet')
      properties = decodeProperties<PublishProperties>(bytes, from, at, PacketType.publish)
    }
    if (topic === '' && properties?.topicAlias === undefined) {
      throw protocolError('', 'PUBLISH without topic and without topic alias')
    }
  }
  return new Publish(
    topic,
    qos as Qos,
    (flags & 1) !== 0,
    dup,
    packetId,
    properties,
    bytes,
    topicStart,
    topicEnd,
    at,
    end,
    false,
  )
}

/**
 * Writes `publish` for one peer; QoS, flags, packet id and properties are the recipient's, the rest is the message's.
 * @param properties what 5.0 peers get; ignored before 5.0
 * @param packetBytesMax the peer's Maximum Packet Size
 * @param isAliased the peer knows the topic by the alias among the properties
 * @returns false when the packet would be larger; nothing is written then [MQTT-3.1.2-24]
 */
export function encodePublish(
  out: OutputBuffer,
  publish: Publish,
  version: Version,
  qos: Qos,
  retain: boolean,
  dup: boolean,
  packetId: number,
  properties: PublishProperties | undefined,
  packetBytesMax: number,
  isAliased = false,
): boolean {
  const isPlain = publish.isForMany && properties === undefined && !dup
  if (isPlain && lastImage.fits(publish, version, qos, retain)) return lastImage.copyTo(out, packetId, packetBytesMax)
  const topicEnd = isAliased ? publish.topicStart : publish.topicEnd
  const topicBytes = topicEnd - publish.topicStart
  const payloadBytes = publish.payloadEnd - publish.payloadStart
  let bodyBytes = 2 + topicBytes + payloadBytes
  if (qos > 0) bodyBytes += 2
  let propertyBytes = 0
  if (version === 5) {
    if (properties !== undefined) propertyBytes = propertiesByteCount(properties)
    bodyBytes += variableByteCount(propertyBytes) + propertyBytes
  }
  if (bodyBytes > variableByteIntegerMax) return false
  const packetBytes = 1 + variableByteCount(bodyBytes) + bodyBytes
  if (packetBytes > packetBytesMax) return false
  if (passage.isOpen && qos === 0 && !publish.isForMany && properties === undefined) {
    const from = publish.payloadEnd - packetBytes
    if (cameSo(publish, version, retain, from, bodyBytes)) {
      passage.pass(out, publish.bytes, from, publish.payloadEnd)
      return true
    }
  }

  const isReferenced = payloadBytes >= referenceBytesMin && publish.isOwned
  out.ensure(isReferenced ? packetBytes - payloadBytes : packetBytes)
  let bytes = out.bytes
  const start = out.length
  let at = start
  bytes[at++] = 0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0)
  if (bodyBytes < 0x80) bytes[at++] = bodyBytes
  else at = writeVariableByteInteger(bytes, at, bodyBytes)
  bytes[at++] = topicBytes >> 8
  bytes[at++] = topicBytes & 0xff
  at = copyBytes(publish.bytes, publish.topicStart, topicEnd, bytes, at)
  const packetIdAt = at - start
  if (qos > 0) {
    bytes[at++] = packetId >> 8
    bytes[at++] = packetId & 0xff
  }
  if (version === 5) {
    if (properties === undefined) {
      bytes[at++] = 0
    } else {
      out.length = at
      encodeProperties(out, properties, propertyBytes)
      bytes = out.bytes
      at = out.length
    }
  }
  if (isReferenced) {
    out.length = at
    out.reference(publish.payload)
  } else {
    out.length = copyBytes(publish.bytes, publish.payloadStart, publish.payloadEnd, bytes, at)
    if (isPlain) lastImage.remember(publish, version, qos, retain, bytes, start, out.length, packetIdAt)
  }
  return true
}

/** Whether the packet that would be written, QoS 0 and without properties, is what stands in its bytes `from` there on. */
function cameSo(publish: Publish, version: Version, retain: boolean, from: number, bodyBytes: number): boolean {
  const { bytes, topicStart, topicEnd } = publish
  if (publish.isOwned || from < 0 || publish.payloadStart - topicEnd !== (version === 5 ? 1 : 0)) return false
  if (bytes[from] !== (retain ? 0x31 : 0x30)) return false
  let at = from + 1
  let rest = bodyBytes
  for (; rest > 0x7f; rest >>>= 7) if (bytes[at++] !== ((rest & 0x7f) | 0x80)) return false
  if (bytes[at++] !== rest) return false
  const topicBytes = topicEnd - topicStart
  if (bytes[at] !== topicBytes >> 8 || bytes[at + 1] !== (topicBytes & 0xff)) return false
  return version < 5 || bytes[topicEnd] === 0
}

/** Whether a message that was just decoded is sent to `version` byte for byte as it came: QoS 0, without properties or flags. */
export function leavesAsItCame(publish: Publish, version: Version): boolean {
  const bodyBytes = publish.payloadEnd - publish.topicStart + 2
  return cameSo(publish, version, false, publish.payloadEnd - bodyBytes - variableByteCount(bodyBytes) - 1, bodyBytes)
}

const lastImage = new PublishImage()

/** Up to here a loop is faster than the call into the runtime. */
const loopBytesMax = 48

/** Returns the position behind the last byte written. */
function copyBytes(from: Buffer, start: number, end: number, to: Buffer, at: number): number {
  if (end - start > loopBytesMax) return at + from.copy(to, at, start, end)
  let target = at
  for (let i = start; i < end; i++) to[target++] = from[i] as number
  return target
}
