/**
 * How acknowledgements, DISCONNECT and AUTH end in 5.0: a reason code, then properties. Nothing need be written
 * behind the last field that says something, so all of it is left out for a plain success (MQTT 5.0 §3.4.2.1).
 */
import type { Cursor } from './cursor.ts'
import type { OutputBuffer } from './output.ts'
import { type Carrier, encodeProperties, readProperties } from './property.ts'
import { ReasonCode } from './reason.ts'
import { variableByteCount } from './variable-byte-integer.ts'
import { writeUint8 } from './writer.ts'

export type ReasonFields<T> = { readonly reasonCode: ReasonCode; readonly properties: T | undefined }

/**
 * @param legal the reason codes that `carrier` may have; any other is a protocolError with `clause`
 * @throws PacketFault
 */
export function readReasonFields<T>(
  cursor: Cursor,
  carrier: Carrier,
  legal: ReadonlySet<ReasonCode>,
  clause: string,
): ReasonFields<T> {
  if (cursor.isAtEnd) return { reasonCode: ReasonCode.success, properties: undefined }
  const reasonCode = cursor.reasonCode(legal, clause)
  return { reasonCode, properties: cursor.isAtEnd ? undefined : readProperties<T>(cursor, carrier) }
}

/** @param propertyBytes what `propertiesByteCount` answers; 0 for none */
export function reasonFieldsByteCount(reasonCode: ReasonCode, propertyBytes: number): number {
  if (propertyBytes > 0) return 1 + variableByteCount(propertyBytes) + propertyBytes
  return reasonCode === ReasonCode.success ? 0 : 1
}

export function writeReasonFields(
  out: OutputBuffer,
  reasonCode: ReasonCode,
  properties: object | undefined,
  propertyBytes: number,
): void {
  if (propertyBytes > 0 || reasonCode !== ReasonCode.success) writeUint8(out, reasonCode)
  if (propertyBytes > 0) encodeProperties(out, properties, propertyBytes)
}
