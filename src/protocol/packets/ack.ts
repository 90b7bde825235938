/**
 * PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5.0 §3.4 to §3.7): a packet identifier, and in 5.0 a reason code and
 * properties, which are left out when there is nothing to tell. That short form is nearly every acknowledgement
 * there is, so it has a way of its own through the codec, which allocates nothing: `decodeShortAckPacketId` here and
 * `encodeAck` in encode.ts.
 */
import type { Cursor } from '../cursor.ts'
import type { OutputBuffer } from '../output.ts'
import { type Ack, type AckType, PacketType, type ReasonProperties, type Version } from '../packet.ts'
import { propertiesByteCount } from '../property.ts'
import { ReasonCode } from '../reason.ts'
import { type ReasonFields, readReasonFields, reasonFieldsByteCount, writeReasonFields } from '../reason-fields.ts'
import { writeFixedHeader, writeUint16 } from '../writer.ts'

const receiptCodes: ReadonlySet<ReasonCode> = new Set([
  ReasonCode.success,
  ReasonCode.noMatchingSubscribers,
  ReasonCode.unspecifiedError,
  ReasonCode.implementationSpecificError,
  ReasonCode.notAuthorized,
  ReasonCode.topicNameInvalid,
  ReasonCode.packetIdentifierInUse,
  ReasonCode.quotaExceeded,
  ReasonCode.payloadFormatInvalid,
])

const releaseCodes: ReadonlySet<ReasonCode> = new Set([ReasonCode.success, ReasonCode.packetIdentifierNotFound])

/**
 * The packet identifier of an acknowledgement in its short form, which says success in every version. 0 for every
 * other frame, broken ones included: `decodePacket` has the full answer for those.
 * @param header first byte of the frame, whose body is `bytes[start..end)`
 */
export function decodeShortAckPacketId(header: number, bytes: Buffer, start: number, end: number): number {
  if (end - start !== 2) return 0
  if (header !== 0x40 && header !== 0x50 && header !== 0x62 && header !== 0x70) return 0
  return ((bytes[start] as number) << 8) | (bytes[start + 1] as number)
}

export function decodeAck(cursor: Cursor, type: AckType, version: Version): Ack {
  const packetId = cursor.packetId()
  if (version < 5) return { type, packetId, reasonCode: ReasonCode.success, properties: undefined }
  const { reasonCode, properties } = decodeReason(cursor, type)
  return { type, packetId, reasonCode, properties }
}

function decodeReason(cursor: Cursor, type: AckType): ReasonFields<ReasonProperties> {
  switch (type) {
    case PacketType.puback:
      return readReasonFields(cursor, type, receiptCodes, 'MQTT-3.4.2-1') // [MQTT-3.4.2-1]
    case PacketType.pubrec:
      return readReasonFields(cursor, type, receiptCodes, 'MQTT-3.5.2-1') // [MQTT-3.5.2-1]
    case PacketType.pubrel:
      return readReasonFields(cursor, type, releaseCodes, 'MQTT-3.6.2-1') // [MQTT-3.6.2-1]
    case PacketType.pubcomp:
      return readReasonFields(cursor, type, releaseCodes, 'MQTT-3.7.2-1') // [MQTT-3.7.2-1]
  }
}

/** Writes the form of 5.0 that can tell a reason. */
export function encodeLongAck(out: OutputBuffer, ack: Ack): void {
  const { reasonCode, properties } = ack
  const propertyBytes = propertiesByteCount(properties)
  writeFixedHeader(out, ackHeader(ack.type), 2 + reasonFieldsByteCount(reasonCode, propertyBytes))
  writeUint16(out, ack.packetId)
  writeReasonFields(out, reasonCode, properties, propertyBytes)
}

/** First byte of the frame. */
export function ackHeader(type: AckType): number {
  return type === PacketType.pubrel ? 0x62 : type << 4 // [MQTT-3.6.1-1]
}
