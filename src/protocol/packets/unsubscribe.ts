/** UNSUBSCRIBE (MQTT 5.0 §3.10). */
import type { Cursor } from '../cursor.ts'
import { protocolError } from '../fault.ts'
import type { OutputBuffer } from '../output.ts'
import { PacketType, type Unsubscribe, type UserOnlyProperties, type Version } from '../packet.ts'
import { encodeProperties, propertiesByteCount, readProperties } from '../property.ts'
import { checkTopicFilter } from '../topic.ts'
import { variableByteCount } from '../variable-byte-integer.ts'
import { stringByteCount, writeFixedHeader, writeString, writeUint16 } from '../writer.ts'

export function decodeUnsubscribe(cursor: Cursor, version: Version): Unsubscribe {
  const packetId = cursor.packetId()
  const properties = version === 5 ? readProperties<UserOnlyProperties>(cursor, PacketType.unsubscribe) : undefined
  const topicFilters: string[] = []
  while (!cursor.isAtEnd) {
    const topicFilter = cursor.string() // [MQTT-3.10.3-1]
    checkTopicFilter(topicFilter)
    topicFilters.push(topicFilter)
  }
  if (topicFilters.length === 0) {
    throw protocolError('MQTT-3.10.3-2', 'UNSUBSCRIBE without a topic filter') // [MQTT-3.10.3-2]
  }
  return { type: PacketType.unsubscribe, packetId, topicFilters, properties }
}

export function encodeUnsubscribe(out: OutputBuffer, unsubscribe: Unsubscribe, version: Version): void {
  const propertyBytes = version === 5 ? propertiesByteCount(unsubscribe.properties) : 0
  let bodyBytes = 2
  if (version === 5) bodyBytes += variableByteCount(propertyBytes) + propertyBytes
  for (const topicFilter of unsubscribe.topicFilters) bodyBytes += stringByteCount(topicFilter)

  writeFixedHeader(out, 0xa2, bodyBytes) // [MQTT-3.10.1-1]
  writeUint16(out, unsubscribe.packetId)
  if (version === 5) encodeProperties(out, unsubscribe.properties, propertyBytes)
  for (const topicFilter of unsubscribe.topicFilters) writeString(out, topicFilter)
}
