/**
 * Wills on their way up a bridge: who hears of a device's death should know whether it is news. The broker marks a will that
 * a bridge takes with the time at which it fired; the bridge says how long ago that was when the line was down meanwhile.
 */
import type { UserProperties } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'

/** When it fired, on the timeline of this broker. */
const firedProperty = 'x-b-will'

/** What the end above is told: a device died, not its gateway; and that it did so while the gateway was away, and when. */
const causeProperty = 'x-b-cause'
const historicalProperty = 'x-b-historical'
const timeProperty = 'x-b-t'

export function markWill(message: Publish, firedAtMs: number): void {
  const mark = [firedProperty, String(Math.floor(firedAtMs))] as const
  message.properties = {
    ...message.properties,
    userProperties: [...(message.properties?.userProperties ?? []), mark],
  }
}

/**
 * What of a message's properties crosses, with what is said of a will.
 * @param onlineSinceMs since when the line is there
 * @param utcOf a point of the timeline as text for people
 */
export function tellWill(
  userProperties: UserProperties | undefined,
  onlineSinceMs: number,
  utcOf: (atMs: number) => string,
): UserProperties | undefined {
  const fired = userProperties?.find(([name]) => name === firedProperty)?.[1]
  if (userProperties === undefined || fired === undefined) return userProperties
  const others = userProperties.filter(([name]) => name !== firedProperty)
  const firedAtMs = Number(fired)
  const told: UserProperties = [...others, [causeProperty, 'device']]
  if (!(firedAtMs < onlineSinceMs)) return told
  return [...told, [historicalProperty, '1'], [timeProperty, utcOf(firedAtMs)]]
}
