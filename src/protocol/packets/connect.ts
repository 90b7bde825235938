/**
 * CONNECT (MQTT 5.0 §3.1). The only packet that says which version it is written in.
 *
 * In every version taken as it stands: Client Identifiers of any length (3.1 wants 1 to 23 bytes, and devices never
 * cared), but 3.1 has none that is empty. In 3.1 the end of the packet may come where the flags promise a user name or password; they are absent then.
 */
import type { Cursor } from '../cursor.ts'
import { malformed, PacketFault, protocolError } from '../fault.ts'
import type { OutputBuffer } from '../output.ts'
import {
  type Connect,
  type ConnectProperties,
  PacketType,
  type Qos,
  type Version,
  type Will,
  type WillProperties,
} from '../packet.ts'
import { encodeProperties, propertiesByteCount, readProperties, willCarrier } from '../property.ts'
import { ReasonCode } from '../reason.ts'
import { variableByteCount } from '../variable-byte-integer.ts'
import {
  binaryByteCount,
  stringByteCount,
  writeBinary,
  writeFixedHeader,
  writeString,
  writeUint8,
  writeUint16,
} from '../writer.ts'

const usernameFlag = 0x80
const passwordFlag = 0x40
const willRetainFlag = 0x20
const willQosShift = 3
const willFlag = 0x04
const cleanStartFlag = 0x02
const reservedFlag = 0x01

/** Mosquitto's private bit of the protocol level. */
const bridgeBit = 0x80

/**
 * The version a CONNECT body asks for, also when the rest of it is broken: what its refusal is to be written in.
 * undefined when it asks for none that is known.
 */
export function peekVersion(bytes: Buffer, start: number, end: number): Version | undefined {
  if (end - start < 2) return undefined
  const levelAt = start + 2 + bytes.readUInt16BE(start)
  if (levelAt >= end) return undefined
  return versionOf(bytes.toString('latin1', start + 2, levelAt), bytes[levelAt] as number)
}

function versionOf(protocolName: string, protocolLevel: number): Version | undefined {
  if (protocolName === 'MQTT') {
    if (protocolLevel === 5) return 5
    if ((protocolLevel & ~bridgeBit) === 4) return 4
  } else if (protocolName === 'MQIsdp' && (protocolLevel & ~bridgeBit) === 3) {
    return 3
  }
  return undefined
}

export function decodeConnect(cursor: Cursor): Connect {
  const protocolName = cursor.string()
  const protocolLevel = cursor.uint8()
  const version = versionOf(protocolName, protocolLevel)
  if (version === undefined) {
    const clause = protocolName === 'MQTT' ? 'MQTT-3.1.2-2' : 'MQTT-3.1.2-1' // [MQTT-3.1.2-1] [MQTT-3.1.2-2]
    throw new PacketFault(ReasonCode.unsupportedProtocolVersion, clause, `unknown protocol at level ${protocolLevel}`)
  }
  const flags = cursor.uint8()
  checkFlags(flags, version)
  const keepAliveSeconds = cursor.uint16()
  const properties = version === 5 ? readProperties<ConnectProperties>(cursor, PacketType.connect) : undefined
  if (properties?.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    throw protocolError('', 'authentication data without a method')
  }
  const clientId = cursor.string()
  const will = (flags & willFlag) === 0 ? undefined : decodeWill(cursor, flags, version)
  const username = hasField(cursor, flags & usernameFlag, version) ? cursor.string() : undefined
  const password = hasField(cursor, flags & passwordFlag, version) ? cursor.binary() : undefined
  const cleanStart = (flags & cleanStartFlag) !== 0
  if (clientId === '' && (version === 3 || (version === 4 && !cleanStart))) {
    const detail = version === 3 ? 'empty client identifier' : 'empty client identifier for a session that is to last'
    throw new PacketFault(ReasonCode.clientIdentifierNotValid, 'MQTT3-3.1.3-8', detail) // [MQTT3-3.1.3-8]
  }
  return {
    type: PacketType.connect,
    version,
    isBridge: (protocolLevel & bridgeBit) !== 0,
    cleanStart,
    keepAliveSeconds,
    clientId,
    username,
    password,
    will,
    properties,
  }
}

function checkFlags(flags: number, version: Version): void {
  if ((flags & reservedFlag) !== 0) throw malformed('MQTT-3.1.2-3', 'reserved connect flag is set') // [MQTT-3.1.2-3]
  const willQos = (flags >> willQosShift) & 3
  if ((flags & willFlag) === 0) {
    if (willQos !== 0) throw malformed('MQTT-3.1.2-11', 'QoS without a will') // [MQTT-3.1.2-11]
    if ((flags & willRetainFlag) !== 0) throw malformed('MQTT-3.1.2-13', 'retain without a will') // [MQTT-3.1.2-13]
  }
  if (willQos === 3) throw malformed('MQTT-3.1.2-12', 'will QoS 3') // [MQTT-3.1.2-12]
  if (version < 5 && (flags & (usernameFlag | passwordFlag)) === passwordFlag) {
    throw malformed('MQTT3-3.1.2-22', 'password without a user name') // [MQTT3-3.1.2-22]
  }
}

/** In 3.1 the remaining length counts for more than the flags. */
function hasField(cursor: Cursor, flag: number, version: Version): boolean {
  return flag !== 0 && !(version === 3 && cursor.isAtEnd)
}

function decodeWill(cursor: Cursor, flags: number, version: Version): Will {
  const properties = version === 5 ? readProperties<WillProperties>(cursor, willCarrier) : undefined
  const topic = cursor.topicName(version)
  return {
    topic,
    payload: cursor.binary(),
    qos: ((flags >> willQosShift) & 3) as Qos,
    retain: (flags & willRetainFlag) !== 0,
    properties,
  }
}

export function encodeConnect(out: OutputBuffer, connect: Connect): void {
  const { version, will, username, password } = connect
  const protocolName = version === 3 ? 'MQIsdp' : 'MQTT'
  const hasProperties = version === 5
  const propertyBytes = hasProperties ? propertiesByteCount(connect.properties) : 0
  const willPropertyBytes = hasProperties ? propertiesByteCount(will?.properties) : 0

  let bodyBytes = stringByteCount(protocolName) + 4 + stringByteCount(connect.clientId)
  if (hasProperties) bodyBytes += variableByteCount(propertyBytes) + propertyBytes
  if (will !== undefined) {
    if (hasProperties) bodyBytes += variableByteCount(willPropertyBytes) + willPropertyBytes
    bodyBytes += stringByteCount(will.topic) + binaryByteCount(will.payload)
  }
  if (username !== undefined) bodyBytes += stringByteCount(username)
  if (password !== undefined) bodyBytes += binaryByteCount(password)

  writeFixedHeader(out, PacketType.connect << 4, bodyBytes)
  writeString(out, protocolName)
  writeUint8(out, connect.isBridge && version < 5 ? version | bridgeBit : version)
  writeUint8(out, flagsOf(connect))
  writeUint16(out, connect.keepAliveSeconds)
  if (hasProperties) encodeProperties(out, connect.properties, propertyBytes)
  writeString(out, connect.clientId)
  if (will !== undefined) {
    if (hasProperties) encodeProperties(out, will.properties, willPropertyBytes)
    writeString(out, will.topic)
    writeBinary(out, will.payload)
  }
  if (username !== undefined) writeString(out, username)
  if (password !== undefined) writeBinary(out, password)
}

function flagsOf({ cleanStart, will, username, password }: Connect): number {
  let flags = cleanStart ? cleanStartFlag : 0
  if (will !== undefined) flags |= willFlag | (will.qos << willQosShift) | (will.retain ? willRetainFlag : 0)
  if (username !== undefined) flags |= usernameFlag
  if (password !== undefined) flags |= passwordFlag
  return flags
}
