/**
 * SUBSCRIBE (MQTT 5.0 §3.8). Before 5.0 the only subscription option is the QoS; the others read as what those
 * versions mean: everything comes back to its sender too, retained messages are sent, RETAIN is cleared on the way.
 */
import type { Cursor } from '../cursor.ts'
import { malformed, protocolError } from '../fault.ts'
import type { OutputBuffer } from '../output.ts'
import {
  PacketType,
  type Qos,
  type Subscribe,
  type SubscribeProperties,
  type SubscriptionRequest,
  type Version,
} from '../packet.ts'
import { encodeProperties, propertiesByteCount, readProperties } from '../property.ts'
import { checkTopicFilter, parseSharedFilter } from '../topic.ts'
import { variableByteCount } from '../variable-byte-integer.ts'
import { stringByteCount, writeFixedHeader, writeString, writeUint8, writeUint16 } from '../writer.ts'

const noLocalFlag = 0x04
const retainAsPublishedFlag = 0x08
const retainHandlingShift = 4

export function decodeSubscribe(cursor: Cursor, version: Version): Subscribe {
  const packetId = cursor.packetId()
  const properties = version === 5 ? readProperties<SubscribeProperties>(cursor, PacketType.subscribe) : undefined
  const subscriptions: SubscriptionRequest[] = []
  while (!cursor.isAtEnd) {
    const topicFilter = cursor.string() // [MQTT-3.8.3-1]
    checkTopicFilter(topicFilter)
    subscriptions.push(decodeOptions(cursor.uint8(), topicFilter, version))
  }
  if (subscriptions.length === 0) {
    throw protocolError('MQTT-3.8.3-2', 'SUBSCRIBE without a topic filter') // [MQTT-3.8.3-2]
  }
  return { type: PacketType.subscribe, packetId, subscriptions, properties }
}

function decodeOptions(options: number, topicFilter: string, version: Version): SubscriptionRequest {
  const reservedBits = version === 5 ? 0xc0 : 0xfc
  if ((options & reservedBits) !== 0) {
    throw malformed('MQTT-3.8.3-5', 'reserved subscription option is set') // [MQTT-3.8.3-5]
  }
  const qos = options & 3
  const retainHandling = options >> retainHandlingShift
  const noLocal = (options & noLocalFlag) !== 0
  if (qos === 3) throw protocolError('', 'subscription with QoS 3')
  if (retainHandling === 3) throw protocolError('', 'retain handling 3')
  if (noLocal && parseSharedFilter(topicFilter) !== undefined) {
    throw protocolError('MQTT-3.8.3-4', 'No Local on a shared subscription') // [MQTT-3.8.3-4]
  }
  return {
    topicFilter,
    qos: qos as Qos,
    noLocal,
    retainAsPublished: (options & retainAsPublishedFlag) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  }
}

export function encodeSubscribe(out: OutputBuffer, subscribe: Subscribe, version: Version): void {
  const propertyBytes = version === 5 ? propertiesByteCount(subscribe.properties) : 0
  let bodyBytes = 2
  if (version === 5) bodyBytes += variableByteCount(propertyBytes) + propertyBytes
  for (const { topicFilter } of subscribe.subscriptions) bodyBytes += stringByteCount(topicFilter) + 1

  writeFixedHeader(out, 0x82, bodyBytes) // [MQTT-3.8.1-1]
  writeUint16(out, subscribe.packetId)
  if (version === 5) encodeProperties(out, subscribe.properties, propertyBytes)
  for (const request of subscribe.subscriptions) {
    writeString(out, request.topicFilter)
    writeUint8(out, version === 5 ? optionsOf(request) : request.qos)
  }
}

function optionsOf({ qos, noLocal, retainAsPublished, retainHandling }: SubscriptionRequest): number {
  return (
    qos |
    (noLocal ? noLocalFlag : 0) |
    (retainAsPublished ? retainAsPublishedFlag : 0) |
    (retainHandling << retainHandlingShift)
  )
}
