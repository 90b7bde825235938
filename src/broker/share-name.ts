/**
 * How a shared subscription is written (MQTT 5.0 §4.8.2): `$share/{share name}/{topic filter}`, or `$queue/{topic filter}`
 * for one group of everybody. It is kept in the first way only.
 */
import { parseSharedFilter, type SharedFilter } from '../protocol/topic.ts'

const sharePrefix = '$share/'
const queuePrefix = '$queue/'

/** The group of everybody who is subscribed by `$queue/`. */
const queueShareName = '$queue'

/**
 * The parts of a shared subscription as a client may write it; undefined for any other filter.
 * @throws PacketFault topicFilterInvalid
 * @example parseShare('$queue/jobs') // { shareName: '$queue', topicFilter: 'jobs' }
 */
export function parseShare(filter: string): SharedFilter | undefined {
  if (!filter.startsWith(queuePrefix)) return parseSharedFilter(filter)
  return { shareName: queueShareName, topicFilter: filter.slice(queuePrefix.length) }
}

/** The one way in which a shared subscription is kept. */
export function shareName(parts: SharedFilter): string {
  return `${sharePrefix}${parts.shareName}/${parts.topicFilter}`
}

/** @param topicFilter as it is kept */
export function isShared(topicFilter: string): boolean {
  return topicFilter.startsWith(sharePrefix)
}
