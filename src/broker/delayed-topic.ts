/** `$delayed/{N}/{topic}`: a message for `topic`, N seconds from now (EMQX's form). */

const prefix = '$delayed/'

/** From here on N is a point in time, in seconds since 1970; below, a number of seconds. */
const absoluteMin = 42_949_670

export interface DelayedTopic {
  /** Up to the second slash, with it. */
  readonly head: string
  readonly interval: string
  readonly topic: string
}

/** undefined when `topic` does not begin with `$delayed/`. What is malformed comes back with what there is of it. */
export function parseDelayed(topic: string): DelayedTopic | undefined {
  if (!topic.startsWith(prefix)) return undefined
  const slash = topic.indexOf('/', prefix.length)
  if (slash < 0) return { head: topic, interval: topic.slice(prefix.length), topic: '' }
  return {
    head: topic.slice(0, slash + 1),
    interval: topic.slice(prefix.length, slash),
    topic: topic.slice(slash + 1),
  }
}

/** Puts a mountpoint before a topic; of a delayed message before the topic inside. */
export function mountTopic(mountpoint: string, topic: string): string {
  const delayed = parseDelayed(topic)
  if (delayed === undefined) return mountpoint + topic
  return delayed.topic === '' ? topic : delayed.head + mountpoint + delayed.topic
}

/**
 * How long a message waits, 0 when it is due; undefined when `interval` says nothing that can be meant.
 * @param wallMs the only clock that a point in time can be compared with; once only, when the message arrives
 */
export function delayMsOf(interval: string, wallMs: number): number | undefined {
  if (!/^-?\d{1,12}$/.test(interval)) return undefined
  const number = Number(interval)
  if (number < absoluteMin) return Math.max(0, number) * 1000
  const delayMs = number * 1000 - wallMs
  return Math.abs(delayMs) > absoluteMin * 1000 ? undefined : Math.max(0, delayMs)
}
