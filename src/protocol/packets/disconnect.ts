/** DISCONNECT (MQTT 5.0 §3.14). Before 5.0 it is empty and means success; only clients send it there. */
import type { Cursor } from '../cursor.ts'
import type { OutputBuffer } from '../output.ts'
import { type Disconnect, type DisconnectProperties, PacketType, type Version } from '../packet.ts'
import { propertiesByteCount } from '../property.ts'
import { ReasonCode } from '../reason.ts'
import { readReasonFields, reasonFieldsByteCount, writeReasonFields } from '../reason-fields.ts'
import { writeFixedHeader } from '../writer.ts'

/** Those of servers and of clients. */
const legalReasonCodes: ReadonlySet<ReasonCode> = new Set([
  ReasonCode.success,
  ReasonCode.disconnectWithWill,
  ReasonCode.unspecifiedError,
  ReasonCode.malformedPacket,
  ReasonCode.protocolError,
  ReasonCode.implementationSpecificError,
  ReasonCode.notAuthorized,
  ReasonCode.serverBusy,
  ReasonCode.serverShuttingDown,
  // §2.4 names it for DISCONNECT, §3.14.2.1 does not; a failed re-authentication has no better word.
  ReasonCode.badAuthenticationMethod,
  ReasonCode.keepAliveTimeout,
  ReasonCode.sessionTakenOver,
  ReasonCode.topicFilterInvalid,
  ReasonCode.topicNameInvalid,
  ReasonCode.receiveMaximumExceeded,
  ReasonCode.topicAliasInvalid,
  ReasonCode.packetTooLarge,
  ReasonCode.messageRateTooHigh,
  ReasonCode.quotaExceeded,
  ReasonCode.administrativeAction,
  ReasonCode.payloadFormatInvalid,
  ReasonCode.retainNotSupported,
  ReasonCode.qosNotSupported,
  ReasonCode.useAnotherServer,
  ReasonCode.serverMoved,
  ReasonCode.sharedSubscriptionsNotSupported,
  ReasonCode.connectionRateExceeded,
  ReasonCode.maximumConnectTime,
  ReasonCode.subscriptionIdentifiersNotSupported,
  ReasonCode.wildcardSubscriptionsNotSupported,
])

export function decodeDisconnect(cursor: Cursor, version: Version): Disconnect {
  if (version < 5) return { type: PacketType.disconnect, reasonCode: ReasonCode.success, properties: undefined }
  const { reasonCode, properties } = readReasonFields<DisconnectProperties>(
    cursor,
    PacketType.disconnect,
    legalReasonCodes,
    'MQTT-3.14.2-1',
  ) // [MQTT-3.14.2-1]
  return { type: PacketType.disconnect, reasonCode, properties }
}

export function encodeDisconnect(out: OutputBuffer, disconnect: Disconnect, version: Version): void {
  const { reasonCode, properties } = disconnect
  if (version === 5) {
    const propertyBytes = propertiesByteCount(properties)
    writeFixedHeader(out, PacketType.disconnect << 4, reasonFieldsByteCount(reasonCode, propertyBytes))
    writeReasonFields(out, reasonCode, properties, propertyBytes)
  } else {
    writeFixedHeader(out, PacketType.disconnect << 4, 0)
  }
}
