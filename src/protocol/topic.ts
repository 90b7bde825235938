/**
 * Topic names and topic filters: what is valid, what matches, and what a shared subscription is made of
 * (MQTT 5.0 §4.7, §4.8.2). Case, spaces and empty levels count; nothing is normalised [MQTT-4.7.3-4].
 */
import { malformed, PacketFault } from './fault.ts'
import type { Version } from './packet.ts'
import { ReasonCode } from './reason.ts'
import { readUtf8 } from './utf8.ts'

const hash = 0x23
const dollar = 0x24
const plus = 0x2b
const slash = 0x2f

/** Bytes that the length prefix of a string can count. */
const topicBytesMax = 65_535

const sharePrefix = '$share/'

/** A surrogate without its partner: nothing that UTF-8 can hold. */
const loneSurrogate = /\p{Surrogate}/u

/**
 * The topic name in `bytes[start..end)`.
 * @throws PacketFault topicNameInvalid (malformedPacket before 5.0) when it is empty or holds a wildcard;
 * malformedPacket when it is not UTF-8 or holds U+0000
 */
export function readTopicName(bytes: Buffer, start: number, end: number, version: Version): string {
  if (start === end) throw nameFault('MQTT-4.7.3-1', 'empty topic', version) // [MQTT-4.7.3-1]
  let isAscii = true
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number
    if (byte === hash || byte === plus) throw nameFault('MQTT-3.3.2-2', 'wildcard in topic', version) // [MQTT-3.3.2-2]
    if (byte === 0) throw malformed('MQTT-4.7.3-2', 'U+0000 in a topic') // [MQTT-4.7.3-2]
    if (byte >= 0x80) isAscii = false
  }
  return isAscii ? bytes.toString('latin1', start, end) : readUtf8(bytes, start, end)
}

function nameFault(clause: string, detail: string, version: Version): PacketFault {
  return new PacketFault(version === 5 ? ReasonCode.topicNameInvalid : ReasonCode.malformedPacket, clause, detail)
}

/** Whether a message may be published to `topic`. @example isValidTopicName('sport/tennis') // true */
export function isValidTopicName(topic: string): boolean {
  for (let at = 0; at < topic.length; at++) {
    const code = topic.charCodeAt(at)
    if (code === hash || code === plus || code === 0) return false
  }
  return topic.length > 0 && Buffer.byteLength(topic) <= topicBytesMax && !loneSurrogate.test(topic)
}

/** Whether `filter` may be subscribed to. @example isValidTopicFilter('sport/tennis#') // false */
export function isValidTopicFilter(filter: string): boolean {
  return brokenFilterClause(filter) === undefined
}

/**
 * Passes what a peer may subscribe to or unsubscribe from.
 * @throws PacketFault topicFilterInvalid
 */
export function checkTopicFilter(filter: string): void {
  const clause = brokenFilterClause(filter)
  if (clause !== undefined) throw filterFault(clause, 'topic filter is not valid')
  parseSharedFilter(filter)
}

function filterFault(clause: string, detail: string): PacketFault {
  return new PacketFault(ReasonCode.topicFilterInvalid, clause, detail)
}

/** The first rule that `filter` breaks. */
function brokenFilterClause(filter: string): string | undefined {
  if (filter.length === 0) return 'MQTT-4.7.3-1'
  if (Buffer.byteLength(filter) > topicBytesMax) return 'MQTT-4.7.3-3' // [MQTT-4.7.3-3]
  if (loneSurrogate.test(filter)) return 'MQTT-1.5.4-1'
  for (let at = 0; at < filter.length; at++) {
    const code = filter.charCodeAt(at)
    if (code === 0) return 'MQTT-4.7.3-2'
    if (code !== hash && code !== plus) continue
    const isFirstOfLevel = at === 0 || filter.charCodeAt(at - 1) === slash
    const isLast = at === filter.length - 1
    if (code === hash && !(isFirstOfLevel && isLast)) return 'MQTT-4.7.1-1' // [MQTT-4.7.1-1]
    if (!isFirstOfLevel || !(isLast || filter.charCodeAt(at + 1) === slash)) return 'MQTT-4.7.1-2' // [MQTT-4.7.1-2]
  }
  return undefined
}

/**
 * Whether `topic` falls under `filter`; both valid, and of a shared subscription only the inner filter.
 * Walks both strings once and allocates nothing.
 * @example topicMatches('sport/#', 'sport') // true
 */
export function topicMatches(filter: string, topic: string): boolean {
  const first = filter.charCodeAt(0)
  if ((first === hash || first === plus) && topic.charCodeAt(0) === dollar) return false // [MQTT-4.7.2-1]
  let at = 0
  for (let next = 0; next < filter.length; next++) {
    const code = filter.charCodeAt(next)
    if (code === hash) return true
    if (code === plus) {
      while (at < topic.length && topic.charCodeAt(at) !== slash) at++
    } else if (at < topic.length && topic.charCodeAt(at) === code) {
      at++
    } else {
      // The multi-level wildcard stands for its parent level too: what is left may be "/#".
      return at === topic.length && code === slash && filter.charCodeAt(next + 1) === hash
    }
  }
  return at === topic.length
}

/**
 * Whether `outer` matches every topic that `inner` matches; both valid.
 * @example filterCovers('sport/#', 'sport/+/score') // true
 */
export function filterCovers(outer: string, inner: string): boolean {
  const outers = outer.split('/')
  const inners = inner.split('/')
  for (const [at, level] of outers.entries()) {
    // Wildcards at the front do not reach topics that begin with $ [MQTT-4.7.2-1], which `inner` may name.
    if (at === 0 && (level === '#' || level === '+') && inner.charCodeAt(0) === dollar) return false
    if (level === '#') return true
    const inside = inners[at]
    if (inside === undefined || inside === '#') return false
    if (level !== '+' && level !== inside) return false
  }
  return inners.length === outers.length
}

export type SharedFilter = { readonly shareName: string; readonly topicFilter: string }

/**
 * The parts of a shared subscription; undefined for any other valid filter.
 * @throws PacketFault topicFilterInvalid when the share name or the filter behind it is missing or not valid
 * @example parseSharedFilter('$share/consumer1//finance') // { shareName: 'consumer1', topicFilter: '/finance' }
 */
export function parseSharedFilter(filter: string): SharedFilter | undefined {
  if (!filter.startsWith(sharePrefix)) return undefined
  const nameEnd = filter.indexOf('/', sharePrefix.length)
  const shareName = filter.slice(sharePrefix.length, nameEnd === -1 ? filter.length : nameEnd)
  if (shareName === '') throw filterFault('MQTT-4.8.2-1', 'share name is empty') // [MQTT-4.8.2-1]
  const topicFilter = nameEnd === -1 ? '' : filter.slice(nameEnd + 1)
  if (shareName.includes('+') || shareName.includes('#') || topicFilter === '') {
    throw filterFault('MQTT-4.8.2-2', 'share name with a wildcard, or no filter behind it') // [MQTT-4.8.2-2]
  }
  return { shareName, topicFilter }
}
