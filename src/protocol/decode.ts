/**
 * Frame -> packet, for every type but PUBLISH, whose decoder the connection calls itself. Serves both ends of a
 * connection, so it decides nothing that depends on which end reads. A fault that is thrown anywhere below becomes a
 * value here; anything else that is thrown is our own mistake and goes on (MQTT 5.0 §2.1, §3).
 */
import { assert } from '../lib/assert.ts'
import { Cursor } from './cursor.ts'
import { malformed, PacketFault, protocolError } from './fault.ts'
import { type ControlPacket, PacketType, type Version } from './packet.ts'
import { decodeAck } from './packets/ack.ts'
import { decodeAuth } from './packets/auth.ts'
import { decodeConnack } from './packets/connack.ts'
import { decodeConnect } from './packets/connect.ts'
import { decodeDisconnect } from './packets/disconnect.ts'
import { decodeSuback, decodeUnsuback } from './packets/suback.ts'
import { decodeSubscribe } from './packets/subscribe.ts'
import { decodeUnsubscribe } from './packets/unsubscribe.ts'

const dupFlag = 0b1000

/**
 * Decodes the frame body `bytes[start..end)`. The packet holds nothing borrowed.
 * @param header first byte of the frame; its type is not PUBLISH
 * @param version that of the connection; undefined before its CONNECT
 */
export function decodePacket(
  header: number,
  bytes: Buffer,
  start: number,
  end: number,
  version: Version | undefined,
): ControlPacket | PacketFault {
  try {
    const type = header >> 4
    if (version === undefined && type !== PacketType.connect) {
      throw protocolError('MQTT-3.1.0-1', 'first packet is not CONNECT') // [MQTT-3.1.0-1]
    }
    checkFlags(type, header & 0x0f, version)
    const cursor = new Cursor(bytes, start, end)
    const packet = version === undefined ? decodeConnect(cursor) : decodeBody(cursor, type, version)
    cursor.expectEnd()
    return packet
  } catch (error) {
    if (error instanceof PacketFault) return error
    throw error
  }
}

function decodeBody(cursor: Cursor, type: number, version: Version): ControlPacket {
  switch (type) {
    case PacketType.connect:
      throw protocolError('MQTT-3.1.0-2', 'second CONNECT') // [MQTT-3.1.0-2]
    case PacketType.connack:
      return decodeConnack(cursor, version)
    case PacketType.puback:
    case PacketType.pubrec:
    case PacketType.pubrel:
    case PacketType.pubcomp:
      return decodeAck(cursor, type, version)
    case PacketType.subscribe:
      return decodeSubscribe(cursor, version)
    case PacketType.suback:
      return decodeSuback(cursor, version)
    case PacketType.unsubscribe:
      return decodeUnsubscribe(cursor, version)
    case PacketType.unsuback:
      return decodeUnsuback(cursor, version)
    case PacketType.pingreq:
    case PacketType.pingresp:
      return { type }
    case PacketType.disconnect:
      return decodeDisconnect(cursor, version)
    case PacketType.auth:
      if (version === 5) return decodeAuth(cursor)
      break
  }
  assert(type !== PacketType.publish, 'PUBLISH has a decoder of its own')
  throw malformed('', `packet type ${type} is reserved`)
}

/** The low half of the fixed header has one legal value for each type. */
function checkFlags(type: number, flags: number, version: Version | undefined): void {
  switch (type) {
    case PacketType.publish:
      return
    case PacketType.pubrel: // [MQTT-3.6.1-1]
    case PacketType.subscribe: // [MQTT-3.8.1-1]
    case PacketType.unsubscribe: // [MQTT-3.10.1-1]
      // 3.1 sends these three with QoS 1, and with DUP when it sends them again.
      if ((version === 3 ? flags & ~dupFlag : flags) === 0b0010) return
      break
    default:
      if (flags === 0) return
  }
  throw malformed('MQTT-2.1.3-1', 'reserved flags of the fixed header') // [MQTT-2.1.3-1]
}
