/**
 * The line grammar of serial2mqtt: `[1,"topic","message",qos,retain,"CRC"]` publishes, `[0,"filter"]` subscribes; the
 * last three of a publish may be left out. The checksum is CRC-16/CCITT-FALSE over the line with "0000" in its place,
 * four hex digits; it stands last.
 */
import type { Qos } from '../../protocol/packet.ts'
import { crc16 } from '../crc16.ts'
import type { Decoded } from './adapter.ts'

/** `needsChecksum`: a line without one is refused. */
export function decodeArray(line: Buffer, items: readonly unknown[], needsChecksum: boolean): Decoded {
  const fault = (kind: 'checksum' | 'grammar'): Decoded => ({ kind: 'fault', fault: kind, bytes: Buffer.from(line) })
  const [command, topic, ...rest] = items
  const last = items.at(-1)
  const isChecked = items.length > (command === 1 ? 3 : 2) && typeof last === 'string' && checksum.test(last)
  if (isChecked ? !isWhole(line, last) : needsChecksum) return fault('checksum')
  if (typeof topic !== 'string') return fault('grammar')
  const plain = isChecked ? rest.slice(0, -1) : rest
  if (command === 0) {
    return plain.length === 0 ? { kind: 'subscribe', topicFilter: topic } : fault('grammar')
  }
  const [message, qos = 0, retain = 0] = plain
  if (command !== 1 || message === undefined || plain.length > 3) return fault('grammar')
  if (!isQos(qos) || !isFlag(retain)) return fault('grammar')
  return { kind: 'message', topic, payload: payloadOf(message), qos, retain: Boolean(retain) }
}

/** A line for the device. @param withChecksum as its own lines have one */
export function encodeArray(topic: string, payload: string, qos: Qos, retain: boolean, withChecksum: boolean): string {
  const items: unknown[] = [1, topic, payload]
  if (qos > 0 || retain) items.push(qos)
  if (retain) items.push(1)
  if (!withChecksum) return JSON.stringify(items)
  const line = Buffer.from(JSON.stringify([...items, blank]))
  const sum = crc16(line, 0, line.length).toString(16).toUpperCase().padStart(4, '0')
  line.write(sum, line.length - tailBytes)
  return line.toString()
}

/** A string is its text, anything else its JSON. */
export function payloadOf(value: unknown): Buffer {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
}

export function isQos(value: unknown): value is Qos {
  return value === 0 || value === 1 || value === 2
}

export function isFlag(value: unknown): value is boolean | 0 | 1 {
  return value === true || value === false || value === 0 || value === 1
}

/** The checksum is looked for from the end, where the line may have blanks. */
function isWhole(line: Buffer, sum: string): boolean {
  const at = line.lastIndexOf(`"${sum}"`)
  if (at < 0) return false
  const blanked = Buffer.from(line)
  blanked.write(blank, at + 1)
  return crc16(blanked, 0, blanked.length) === Number.parseInt(sum, 16)
}

const checksum = /^[0-9A-Fa-f]{4}$/
const blank = '0000'
/** `0000"]` */
const tailBytes = 6
