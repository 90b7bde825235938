/**
 * Packet -> bytes, for every type but PUBLISH (packets/publish.ts). The version decides what of a packet is on the
 * wire: before 5.0 there are no properties and hardly any reason codes. Values are ours and taken to be legal.
 */
import { assert, unreachable } from '../lib/assert.ts'
import type { OutputBuffer } from './output.ts'
import { type Ack, type AckType, type ControlPacket, PacketType, type Version } from './packet.ts'
import { ackHeader, encodeLongAck } from './packets/ack.ts'
import { encodeAuth } from './packets/auth.ts'
import { encodeConnack } from './packets/connack.ts'
import { encodeConnect } from './packets/connect.ts'
import { encodeDisconnect } from './packets/disconnect.ts'
import { encodeSuback, encodeUnsuback } from './packets/suback.ts'
import { encodeSubscribe } from './packets/subscribe.ts'
import { encodeUnsubscribe } from './packets/unsubscribe.ts'
import { ReasonCode } from './reason.ts'
import { writeFixedHeader } from './writer.ts'

/** Writes `packet` for a peer that speaks `version`; a CONNECT is written in its own. */
export function encodePacket(out: OutputBuffer, packet: ControlPacket, version: Version): void {
  switch (packet.type) {
    case PacketType.connect:
      encodeConnect(out, packet)
      break
    case PacketType.connack:
      encodeConnack(out, packet, version)
      break
    case PacketType.puback:
    case PacketType.pubrec:
    case PacketType.pubrel:
    case PacketType.pubcomp:
      if (isShortAck(packet, version)) encodeAck(out, packet.type, packet.packetId)
      else encodeLongAck(out, packet)
      break
    case PacketType.subscribe:
      encodeSubscribe(out, packet, version)
      break
    case PacketType.suback:
      encodeSuback(out, packet, version)
      break
    case PacketType.unsubscribe:
      encodeUnsubscribe(out, packet, version)
      break
    case PacketType.unsuback:
      encodeUnsuback(out, packet, version)
      break
    case PacketType.pingreq:
    case PacketType.pingresp:
      writeFixedHeader(out, packet.type << 4, 0)
      break
    case PacketType.disconnect:
      encodeDisconnect(out, packet, version)
      break
    case PacketType.auth:
      assert(version === 5, 'AUTH before 5.0')
      encodeAuth(out, packet)
      break
    default:
      unreachable(packet)
  }
}

function isShortAck(ack: Ack, version: Version): boolean {
  return version < 5 || (ack.reasonCode === ReasonCode.success && ack.properties === undefined)
}

/** Writes an acknowledgement that says success, which looks the same in every version. Allocates nothing. */
export function encodeAck(out: OutputBuffer, type: AckType, packetId: number): void {
  out.ensure(4)
  const { bytes } = out
  let at = out.length
  bytes[at++] = ackHeader(type)
  bytes[at++] = 2
  bytes[at++] = packetId >> 8
  bytes[at++] = packetId & 0xff
  out.length = at
}
