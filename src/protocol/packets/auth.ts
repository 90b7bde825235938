/** AUTH (MQTT 5.0 §3.15), the steps of an extended authentication. Not in earlier versions. */
import type { Cursor } from '../cursor.ts'
import { protocolError } from '../fault.ts'
import type { OutputBuffer } from '../output.ts'
import { type Auth, type AuthProperties, PacketType } from '../packet.ts'
import { propertiesByteCount } from '../property.ts'
import { ReasonCode } from '../reason.ts'
import { readReasonFields, reasonFieldsByteCount, writeReasonFields } from '../reason-fields.ts'
import { writeFixedHeader } from '../writer.ts'

const legalReasonCodes: ReadonlySet<ReasonCode> = new Set([
  ReasonCode.success,
  ReasonCode.continueAuthentication,
  ReasonCode.reAuthenticate,
])

export function decodeAuth(cursor: Cursor): Auth {
  const { reasonCode, properties } = readReasonFields<AuthProperties>(
    cursor,
    PacketType.auth,
    legalReasonCodes,
    'MQTT-3.15.2-1',
  ) // [MQTT-3.15.2-1]
  // A success without properties may be empty, and then it cannot name the method that every other AUTH has to.
  const isPlainSuccess = reasonCode === ReasonCode.success && properties === undefined
  if (!isPlainSuccess && properties?.authenticationMethod === undefined) {
    throw protocolError('', 'AUTH without an authentication method')
  }
  return { type: PacketType.auth, reasonCode, properties }
}

export function encodeAuth(out: OutputBuffer, auth: Auth): void {
  const { reasonCode, properties } = auth
  const propertyBytes = propertiesByteCount(properties)
  writeFixedHeader(out, PacketType.auth << 4, reasonFieldsByteCount(reasonCode, propertyBytes))
  writeReasonFields(out, reasonCode, properties, propertyBytes)
}
