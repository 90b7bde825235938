/** TIME of the serial link: the wall clock for boards without one, and how far it can be trusted. */

/** What the wall clock of a gateway is worth, by number on the wire. */
const CLOCK_QUALITIES = ['unset', 'kept', 'rtc', 'network', 'gps'] as const

/**
 * `unset`: nobody knows the time; `kept`: taken up where the last run ended, so it may be behind; `rtc`: from a chip
 * with a battery; `network`: synchronised over the network; `gps`.
 */
export type ClockQuality = (typeof CLOCK_QUALITIES)[number]

/** The payload of TIME. @param wallMs milliseconds since 1970 at the moment when the frame has left */
export function encodeTime(wallMs: number, quality: ClockQuality): Buffer {
  const payload = Buffer.allocUnsafe(9)
  payload.writeBigUInt64LE(BigInt(Math.max(0, Math.round(wallMs))), 0)
  payload[8] = CLOCK_QUALITIES.indexOf(quality)
  return payload
}

export const timePayloadBytes = 9
