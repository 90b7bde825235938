/** TIME of the serial link: the wall clock for boards without one, and how far it can be trusted. */

import type { ClockQuality } from '../ports/clock.ts'

/** By number on the wire. */
const CLOCK_QUALITIES: readonly ClockQuality[] = ['unset', 'kept', 'rtc', 'network', 'gps']

/** The payload of TIME. @param wallMs milliseconds since 1970 at the moment when the frame has left */
export function encodeTime(wallMs: number, quality: ClockQuality): Buffer {
  const payload = Buffer.allocUnsafe(9)
  payload.writeBigUInt64LE(BigInt(Math.max(0, Math.round(wallMs))), 0)
  payload[8] = CLOCK_QUALITIES.indexOf(quality)
  return payload
}

export const timePayloadBytes = 9
