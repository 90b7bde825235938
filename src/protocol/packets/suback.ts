/**
 * SUBACK and UNSUBACK (MQTT 5.0 §3.9, §3.11): one reason code for each topic filter of the request, in its order.
 * Before 5.0 a SUBACK knows one failure, and an UNSUBACK has no reason codes at all.
 */
import type { Cursor } from '../cursor.ts'
import { protocolError } from '../fault.ts'
import type { OutputBuffer } from '../output.ts'
import { PacketType, type ReasonProperties, type Suback, type Unsuback, type Version } from '../packet.ts'
import { encodeProperties, propertiesByteCount, readProperties } from '../property.ts'
import { ReasonCode } from '../reason.ts'
import { variableByteCount } from '../variable-byte-integer.ts'
import { writeFixedHeader, writeUint8, writeUint16 } from '../writer.ts'

const subackCodes: ReadonlySet<ReasonCode> = new Set([
  ReasonCode.success,
  ReasonCode.grantedQos1,
  ReasonCode.grantedQos2,
  ReasonCode.unspecifiedError,
  ReasonCode.implementationSpecificError,
  ReasonCode.notAuthorized,
  ReasonCode.topicFilterInvalid,
  ReasonCode.packetIdentifierInUse,
  ReasonCode.quotaExceeded,
  ReasonCode.sharedSubscriptionsNotSupported,
  ReasonCode.subscriptionIdentifiersNotSupported,
  ReasonCode.wildcardSubscriptionsNotSupported,
])

const subackReturnCodes: ReadonlySet<ReasonCode> = new Set([
  ReasonCode.success,
  ReasonCode.grantedQos1,
  ReasonCode.grantedQos2,
  ReasonCode.unspecifiedError,
])

const unsubackCodes: ReadonlySet<ReasonCode> = new Set([
  ReasonCode.success,
  ReasonCode.noSubscriptionExisted,
  ReasonCode.unspecifiedError,
  ReasonCode.implementationSpecificError,
  ReasonCode.notAuthorized,
  ReasonCode.topicFilterInvalid,
  ReasonCode.packetIdentifierInUse,
])

export function decodeSuback(cursor: Cursor, version: Version): Suback {
  const packetId = cursor.packetId()
  const properties = version === 5 ? readProperties<ReasonProperties>(cursor, PacketType.suback) : undefined
  const reasonCodes =
    version === 5
      ? decodeReasonCodes(cursor, subackCodes, 'MQTT-3.9.3-2') // [MQTT-3.9.3-2]
      : decodeReasonCodes(cursor, subackReturnCodes, 'MQTT3-3.9.3-2') // [MQTT3-3.9.3-2]
  return { type: PacketType.suback, packetId, reasonCodes, properties }
}

export function decodeUnsuback(cursor: Cursor, version: Version): Unsuback {
  const packetId = cursor.packetId()
  if (version < 5) return { type: PacketType.unsuback, packetId, reasonCodes: [], properties: undefined }
  const properties = readProperties<ReasonProperties>(cursor, PacketType.unsuback)
  const reasonCodes = decodeReasonCodes(cursor, unsubackCodes, 'MQTT-3.11.3-2') // [MQTT-3.11.3-2]
  return { type: PacketType.unsuback, packetId, reasonCodes, properties }
}

function decodeReasonCodes(cursor: Cursor, legal: ReadonlySet<ReasonCode>, clause: string): ReasonCode[] {
  const reasonCodes: ReasonCode[] = []
  while (!cursor.isAtEnd) reasonCodes.push(cursor.reasonCode(legal, clause))
  if (reasonCodes.length === 0) {
    throw protocolError('', 'acknowledgement without a reason code')
  }
  return reasonCodes
}

export function encodeSuback(out: OutputBuffer, suback: Suback, version: Version): void {
  if (version === 5) {
    encodeWithReasonCodes(out, suback)
  } else {
    writeFixedHeader(out, PacketType.suback << 4, 2 + suback.reasonCodes.length)
    writeUint16(out, suback.packetId)
    for (const reasonCode of suback.reasonCodes) writeUint8(out, Math.min(reasonCode, ReasonCode.unspecifiedError))
  }
}

export function encodeUnsuback(out: OutputBuffer, unsuback: Unsuback, version: Version): void {
  if (version === 5) {
    encodeWithReasonCodes(out, unsuback)
  } else {
    writeFixedHeader(out, PacketType.unsuback << 4, 2)
    writeUint16(out, unsuback.packetId)
  }
}

function encodeWithReasonCodes(out: OutputBuffer, packet: Suback | Unsuback): void {
  const propertyBytes = propertiesByteCount(packet.properties)
  const bodyBytes = 2 + variableByteCount(propertyBytes) + propertyBytes + packet.reasonCodes.length
  writeFixedHeader(out, packet.type << 4, bodyBytes)
  writeUint16(out, packet.packetId)
  encodeProperties(out, packet.properties, propertyBytes)
  for (const reasonCode of packet.reasonCodes) writeUint8(out, reasonCode)
}
