/**
 * Wills on their way up a bridge: who hears of a device's death should know whether it is news. The broker marks a will that
 * a bridge takes with the time at which it fired; the bridge says how long ago that was when the line was down meanwhile.
 *
 * One of QoS 0 would not wait for the line, and there is no second chance to hear of a death: for the bridge a copy of
 * QoS 1 goes into the log, under a topic that only bridges subscribe to, and that copy is what crosses.
 */
import type { UserProperties } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'

const tree = '$bridge/lasting/will/'

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

/** What a bridge subscribes to beside `topicFilter`. */
export function willFilter(topicFilter: string): string {
  return tree + topicFilter
}

/** The copy that waits for a bridge, of a marked will that was published. */
export function lastingWill(message: Publish): Publish {
  const copy = message.withTopic(willFilter(message.topic))
  copy.qos = 1
  return copy
}

/** The will that `message` is a copy of; undefined when it is something else. */
export function readLastingWill(message: Publish): Publish | undefined {
  return message.topic.startsWith(tree) ? message.withTopic(message.topic.slice(tree.length)) : undefined
}

/** It crosses as its copy. */
export function hasLastingCopy({ qos, properties }: Publish): boolean {
  return qos === 0 && (properties?.userProperties?.some(([name]) => name === firedProperty) ?? false)
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
