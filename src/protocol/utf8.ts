/**
 * UTF-8 encoded strings, taken strictly: no surrogates, nothing overlong or cut, no U+0000 (MQTT 5.0 §1.5.4).
 * A byte order mark is a character like any other and stays [MQTT-1.5.4-3].
 */
import { isUtf8 } from 'node:buffer'
import { malformed } from './fault.ts'

/**
 * The text in `bytes[start..end)`.
 * @throws PacketFault malformedPacket
 */
export function readUtf8(bytes: Buffer, start: number, end: number): string {
  let isAscii = true
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number
    if (byte === 0) throw malformed('MQTT-1.5.4-2', 'U+0000 in a string') // [MQTT-1.5.4-2]
    if (byte >= 0x80) isAscii = false
  }
  if (isAscii) return bytes.toString('latin1', start, end)
  if (!isUtf8(bytes.subarray(start, end))) {
    throw malformed('MQTT-1.5.4-1', 'string is not UTF-8') // [MQTT-1.5.4-1]
  }
  return bytes.toString('utf8', start, end)
}
