/**
 * CONNACK (MQTT 5.0 §3.2). Before 5.0 it has no properties, and its reason is one of six return codes (reason.ts).
 * 3.1 has no Session Present: it reads and writes as false there.
 */
import type { Cursor } from '../cursor.ts'
import { malformed, protocolError } from '../fault.ts'
import type { OutputBuffer } from '../output.ts'
import { type Connack, type ConnackProperties, PacketType, type Version } from '../packet.ts'
import { encodeProperties, propertiesByteCount, readProperties } from '../property.ts'
import { connectReturnCode, ReasonCode, reasonOfReturnCode } from '../reason.ts'
import { variableByteCount } from '../variable-byte-integer.ts'
import { writeFixedHeader, writeUint8 } from '../writer.ts'

const legalReasonCodes: ReadonlySet<ReasonCode> = new Set([
  ReasonCode.success,
  ReasonCode.unspecifiedError,
  ReasonCode.malformedPacket,
  ReasonCode.protocolError,
  ReasonCode.implementationSpecificError,
  ReasonCode.unsupportedProtocolVersion,
  ReasonCode.clientIdentifierNotValid,
  ReasonCode.badUserNameOrPassword,
  ReasonCode.notAuthorized,
  ReasonCode.serverUnavailable,
  ReasonCode.serverBusy,
  ReasonCode.banned,
  ReasonCode.badAuthenticationMethod,
  ReasonCode.topicNameInvalid,
  ReasonCode.packetTooLarge,
  ReasonCode.quotaExceeded,
  ReasonCode.payloadFormatInvalid,
  ReasonCode.retainNotSupported,
  ReasonCode.qosNotSupported,
  ReasonCode.useAnotherServer,
  ReasonCode.serverMoved,
  ReasonCode.connectionRateExceeded,
])

export function decodeConnack(cursor: Cursor, version: Version): Connack {
  const flags = cursor.uint8()
  if (flags > 1) {
    throw malformed('MQTT-3.2.2-1', 'reserved connect acknowledge flag is set') // [MQTT-3.2.2-1]
  }
  const reasonCode =
    version === 5
      ? cursor.reasonCode(legalReasonCodes, 'MQTT-3.2.2-8') // [MQTT-3.2.2-8]
      : decodeReturnCode(cursor)
  const sessionPresent = flags === 1 && version > 3
  if (sessionPresent && reasonCode !== ReasonCode.success) {
    throw protocolError('MQTT-3.2.2-6', 'session present in a refusal') // [MQTT-3.2.2-6]
  }
  const properties = version === 5 ? readProperties<ConnackProperties>(cursor, PacketType.connack) : undefined
  return { type: PacketType.connack, sessionPresent, reasonCode, properties }
}

function decodeReturnCode(cursor: Cursor): ReasonCode {
  const reasonCode = reasonOfReturnCode(cursor.uint8())
  if (reasonCode === undefined) throw protocolError('', 'reserved connect return code')
  return reasonCode
}

/** Session Present goes out with success alone. */
export function encodeConnack(out: OutputBuffer, connack: Connack, version: Version): void {
  const sessionPresent = connack.sessionPresent && connack.reasonCode === ReasonCode.success && version > 3
  const propertyBytes = version === 5 ? propertiesByteCount(connack.properties) : 0
  writeFixedHeader(
    out,
    PacketType.connack << 4,
    version === 5 ? 2 + variableByteCount(propertyBytes) + propertyBytes : 2,
  )
  writeUint8(out, sessionPresent ? 1 : 0)
  writeUint8(out, version === 5 ? connack.reasonCode : connectReturnCode(connack.reasonCode))
  if (version === 5) encodeProperties(out, connack.properties, propertyBytes)
}
