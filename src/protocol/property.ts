/**
 * The properties of MQTT 5.0 (§2.2.2.2) as one table, and the codec that reads it. A row says which packets carry a
 * property. A decoded object has every property of its carrier as a key, `undefined` where it is absent, in the order
 * of the table, whatever the order on the wire.
 *
 * Faults: an identifier that is unknown or belongs to another packet is malformedPacket; a repetition or a value out
 * of range is protocolError; Topic Alias 0 is topicAliasInvalid.
 */
import { must, unreachable } from '../lib/assert.ts'
import { Cursor } from './cursor.ts'
import { malformed, PacketFault, protocolError } from './fault.ts'
import type { OutputBuffer } from './output.ts'
import { PacketType, type UserProperties } from './packet.ts'
import { ReasonCode } from './reason.ts'
import { variableByteCount, writeVariableByteInteger } from './variable-byte-integer.ts'
import {
  binaryByteCount,
  stringByteCount,
  writeBinary,
  writeString,
  writeUint8,
  writeUint16,
  writeUint32,
} from './writer.ts'

/** The block inside CONNECT that belongs to the will: a carrier beside the packet types, none of which is 0. */
export const willCarrier = 0

/** What a block of properties belongs to. */
export type Carrier = PacketType | typeof willCarrier

/** `flag` is one byte, 0 or 1. The non-zero types and `topicAlias` (a uint16) refuse 0. */
type WireType =
  | 'flag'
  | 'uint16'
  | 'nonZeroUint16'
  | 'topicAlias'
  | 'uint32'
  | 'nonZeroUint32'
  | 'nonZeroVariableByteInteger'
  | 'string'
  | 'topicName'
  | 'stringPair'
  | 'binary'

type Row = readonly [id: number, name: string, type: WireType, carriers: number, isRepeatable: boolean]

const WILL = 1 << willCarrier
const CONNECT = 1 << PacketType.connect
const CONNACK = 1 << PacketType.connack
const PUBLISH = 1 << PacketType.publish
const SUBSCRIBE = 1 << PacketType.subscribe
const UNSUBSCRIBE = 1 << PacketType.unsubscribe
const DISCONNECT = 1 << PacketType.disconnect
const AUTH = 1 << PacketType.auth
const ACKS =
  (1 << PacketType.puback) |
  (1 << PacketType.pubrec) |
  (1 << PacketType.pubrel) |
  (1 << PacketType.pubcomp) |
  (1 << PacketType.suback) |
  (1 << PacketType.unsuback)
const ANY = WILL | CONNECT | CONNACK | PUBLISH | ACKS | SUBSCRIBE | UNSUBSCRIBE | DISCONNECT | AUTH

/** Names are those of the types in packet.ts. 0x0B has two rows: a PUBLISH may carry several, a SUBSCRIBE one. */
export const PROPERTIES: readonly Row[] = [
  [0x01, 'payloadFormatIndicator', 'flag', PUBLISH | WILL, false],
  [0x02, 'messageExpiryInterval', 'uint32', PUBLISH | WILL, false],
  [0x03, 'contentType', 'string', PUBLISH | WILL, false],
  [0x08, 'responseTopic', 'topicName', PUBLISH | WILL, false], // [MQTT-3.3.2-14]
  [0x09, 'correlationData', 'binary', PUBLISH | WILL, false],
  [0x0b, 'subscriptionIdentifiers', 'nonZeroVariableByteInteger', PUBLISH, true],
  [0x0b, 'subscriptionIdentifier', 'nonZeroVariableByteInteger', SUBSCRIBE, false],
  [0x11, 'sessionExpiryInterval', 'uint32', CONNECT | CONNACK | DISCONNECT, false],
  [0x12, 'assignedClientIdentifier', 'string', CONNACK, false],
  [0x13, 'serverKeepAlive', 'uint16', CONNACK, false],
  [0x15, 'authenticationMethod', 'string', CONNECT | CONNACK | AUTH, false],
  [0x16, 'authenticationData', 'binary', CONNECT | CONNACK | AUTH, false],
  [0x17, 'requestProblemInformation', 'flag', CONNECT, false],
  [0x18, 'willDelayInterval', 'uint32', WILL, false],
  [0x19, 'requestResponseInformation', 'flag', CONNECT, false],
  [0x1a, 'responseInformation', 'string', CONNACK, false],
  [0x1c, 'serverReference', 'string', CONNACK | DISCONNECT, false],
  [0x1f, 'reasonString', 'string', CONNACK | ACKS | DISCONNECT | AUTH, false],
  [0x21, 'receiveMaximum', 'nonZeroUint16', CONNECT | CONNACK, false],
  [0x22, 'topicAliasMaximum', 'uint16', CONNECT | CONNACK, false],
  [0x23, 'topicAlias', 'topicAlias', PUBLISH, false], // [MQTT-3.3.2-8]
  [0x24, 'maximumQos', 'flag', CONNACK, false],
  [0x25, 'retainAvailable', 'flag', CONNACK, false],
  [0x26, 'userProperties', 'stringPair', ANY, true], // [MQTT-1.5.7-1]
  [0x27, 'maximumPacketSize', 'nonZeroUint32', CONNECT | CONNACK, false],
  [0x28, 'wildcardSubscriptionAvailable', 'flag', CONNACK, false],
  [0x29, 'subscriptionIdentifierAvailable', 'flag', CONNACK, false],
  [0x2a, 'sharedSubscriptionAvailable', 'flag', CONNACK, false],
]

type Value = number | string | Buffer | readonly [string, string]
type Properties = Record<string, Value | Value[] | undefined>

const rowByName = new Map(PROPERTIES.map((row) => [row[1], row]))

/** By carrier: the rows by identifier, and the object that decoding begins with. Rows are read by place, which costs least. */
const carriers = Array.from({ length: 16 }, (_, carrier) => {
  const rows = PROPERTIES.filter(([, , , carriers]) => (carriers & (1 << carrier)) !== 0)
  const template: Properties = Object.fromEntries(rows.map(([, name]) => [name, undefined]))
  const rowById: (Row | undefined)[] = new Array(256).fill(undefined)
  for (const row of rows) rowById[row[0]] = row
  return { rowById, template }
})

/**
 * Reads the block `bytes[start..end)`, which is the properties without the length before them; undefined when it is
 * empty. `T` is the type of packet.ts that belongs to `carrier`. Nothing in it is borrowed.
 * @throws PacketFault
 */
export function decodeProperties<T>(bytes: Buffer, start: number, end: number, carrier: Carrier): T | undefined {
  if (start === end) return undefined
  const cursor = new Cursor(bytes, start, end)
  const { rowById, template } = must(carriers[carrier], 'carrier of properties')
  const properties: Properties = { ...template }
  while (!cursor.isAtEnd) {
    const row = rowById[cursor.uint8()]
    if (row === undefined) {
      throw malformed('', 'property does not belong to this packet')
    }
    const name = row[1]
    const isRepeatable = row[4]
    const value = decodeValue(cursor, name, row[2])
    const previous = properties[name]
    if (previous === undefined) properties[name] = isRepeatable ? [value] : value
    else if (isRepeatable) (previous as Value[]).push(value)
    else throw protocolError('', `${name} more than once`)
  }
  return properties as T
}

/** Reads a block with its length before it. @throws PacketFault */
export function readProperties<T>(cursor: Cursor, carrier: Carrier): T | undefined {
  const byteCount = cursor.variableByteInteger()
  const start = cursor.skip(byteCount)
  return decodeProperties<T>(cursor.bytes, start, cursor.at, carrier)
}

function decodeValue(cursor: Cursor, name: string, type: WireType): Value {
  switch (type) {
    case 'flag': {
      const flag = cursor.uint8()
      if (flag > 1) throw protocolError('', `${name} is neither 0 nor 1`)
      return flag
    }
    case 'uint16':
      return cursor.uint16()
    case 'nonZeroUint16':
      return nonZero(cursor.uint16(), name)
    case 'topicAlias': {
      const alias = cursor.uint16()
      if (alias === 0) throw new PacketFault(ReasonCode.topicAliasInvalid, 'MQTT-3.3.2-8', 'topic alias 0')
      return alias
    }
    case 'uint32':
      return cursor.uint32()
    case 'nonZeroUint32':
      return nonZero(cursor.uint32(), name)
    case 'nonZeroVariableByteInteger':
      return nonZero(cursor.variableByteInteger(), name)
    case 'string':
      return cursor.string()
    case 'topicName':
      return cursor.topicName(5)
    case 'stringPair': {
      const first = cursor.string()
      return [first, cursor.string()]
    }
    case 'binary':
      return cursor.binary()
    default:
      return unreachable(type)
  }
}

function nonZero(value: number, name: string): number {
  if (value === 0) throw protocolError('', `${name} is 0`)
  return value
}

/** Bytes of the block that `encodeProperties` writes, without the length before it. */
export function propertiesByteCount(properties: object | undefined): number {
  let byteCount = 0
  for (const name in properties) {
    const value = (properties as Properties)[name]
    if (value === undefined) continue
    const row = must(rowByName.get(name), name)
    const type = row[2]
    if (row[4]) {
      for (const item of value as Value[]) byteCount += 1 + valueByteCount(item, type)
    } else {
      byteCount += 1 + valueByteCount(value as Value, type)
    }
  }
  return byteCount
}

function valueByteCount(value: Value, type: WireType): number {
  switch (type) {
    case 'flag':
      return 1
    case 'uint16':
    case 'nonZeroUint16':
    case 'topicAlias':
      return 2
    case 'uint32':
    case 'nonZeroUint32':
      return 4
    case 'nonZeroVariableByteInteger':
      return variableByteCount(value as number)
    case 'string':
    case 'topicName':
      return stringByteCount(value as string)
    case 'stringPair': {
      const pair = value as UserProperties[number]
      return stringByteCount(pair[0]) + stringByteCount(pair[1])
    }
    case 'binary':
      return binaryByteCount(value as Buffer)
    default:
      return unreachable(type)
  }
}

/**
 * Writes the length and the block behind it; no properties are a length of 0 [MQTT-2.2.2-1].
 * @param byteCount what `propertiesByteCount` answers for `properties`
 */
export function encodeProperties(out: OutputBuffer, properties: object | undefined, byteCount: number): void {
  out.ensure(variableByteCount(byteCount) + byteCount)
  out.length = writeVariableByteInteger(out.bytes, out.length, byteCount)
  for (const name in properties) {
    const value = (properties as Properties)[name]
    if (value === undefined) continue
    const row = must(rowByName.get(name), name)
    const id = row[0]
    const type = row[2]
    if (row[4]) {
      for (const item of value as Value[]) encodeValue(out, id, item, type)
    } else {
      encodeValue(out, id, value as Value, type)
    }
  }
}

function encodeValue(out: OutputBuffer, id: number, value: Value, type: WireType): void {
  writeUint8(out, id)
  switch (type) {
    case 'flag':
      writeUint8(out, value as number)
      break
    case 'uint16':
    case 'nonZeroUint16':
    case 'topicAlias':
      writeUint16(out, value as number)
      break
    case 'uint32':
    case 'nonZeroUint32':
      writeUint32(out, value as number)
      break
    case 'nonZeroVariableByteInteger':
      out.length = writeVariableByteInteger(out.bytes, out.length, value as number)
      break
    case 'string':
    case 'topicName':
      writeString(out, value as string)
      break
    case 'stringPair': {
      const pair = value as UserProperties[number]
      writeString(out, pair[0])
      writeString(out, pair[1])
      break
    }
    case 'binary':
      writeBinary(out, value as Buffer)
      break
    default:
      unreachable(type)
  }
}
