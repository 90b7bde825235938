/**
 * The one number of MQTT whose length depends on its value: seven bits a byte, lowest first, at most four bytes
 * (MQTT 5.0 §1.5.5). Only the shortest form of a number is legal, so its byte count follows from its value.
 * The remaining length of a frame is read in frame.ts, where the end of the bytes is no fault.
 */
import { assert } from '../lib/assert.ts'
import { malformed } from './fault.ts'

export const variableByteIntegerMax = 268_435_455

/**
 * Reads the number that begins at `at` and ends before `end`.
 * @throws PacketFault malformedPacket when it is cut short, longer than four bytes or longer than it need be
 */
export function readVariableByteInteger(bytes: Buffer, at: number, end: number): number {
  let value = 0
  let shift = 0
  for (let next = at; next < end && shift < 28; next++) {
    const byte = bytes[next] as number
    value |= (byte & 0x7f) << shift
    if (byte < 0x80) {
      if (byte === 0 && shift > 0) {
        throw malformed('MQTT-1.5.5-1', 'overlong variable byte integer') // [MQTT-1.5.5-1]
      }
      return value
    }
    shift += 7
  }
  throw malformed('', 'variable byte integer without an end')
}

/** @param value 0 to `variableByteIntegerMax` */
export function variableByteCount(value: number): 1 | 2 | 3 | 4 {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  if (value < 0x20_0000) return 3
  assert(value <= variableByteIntegerMax, 'variable byte integer out of range')
  return 4
}

/** Writes `value` in `variableByteCount(value)` bytes from `at` on; returns the position behind them. */
export function writeVariableByteInteger(bytes: Buffer, at: number, value: number): number {
  let rest = value
  let next = at
  while (rest >= 0x80) {
    bytes[next++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  bytes[next++] = rest
  return next
}
