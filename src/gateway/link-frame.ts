/**
 * One frame of the serial link, between bytes and values. Before COBS it is
 *
 *     ctl | seq | ack | payload … | CRC-16 (low byte first)          ctl = type << 4 | flags
 *
 * and on the wire it stands between two 0x00: noise before a frame costs only that noise.
 * `ack` is the number of the DATA frame that the sender expects next; only DATA frames are numbered, all others carry
 * the number that the next one will have. On a bus an address stands between `ctl` and `seq`.
 */
import { cobsBytesMax, cobsEncode } from './cobs.ts'
import { crc16 } from './crc16.ts'

export const FrameType = {
  /** Begins a conversation; whatever was said before is void. Payload: link-hello.ts. */
  rst: 0,
  /** Agrees to the conversation of a RST. Payload: link-hello.ts. */
  rstAck: 1,
  /** The next piece of the byte stream. */
  data: 2,
  ack: 3,
  /** `ack` came damaged or not at all: go back to it. */
  nak: 4,
  ping: 5,
  pong: 6,
  /** Text of the device for people, outside of the stream. */
  log: 7,
  /** Not spoken yet: MQTT-SN datagrams. */
  sn: 8,
  /** Empty from a device: what time is it? From the host: link-time.ts. */
  time: 9,
  /** From the host: go to this rate? From the device: yes, now. link-rate.ts. */
  baud: 10,
  /** The sender has left the conversation. */
  err: 11,
  /** On a bus: the peer may speak now, or has spoken. link-bus.ts. */
  turn: 12,
} as const
export type FrameType = (typeof FrameType)[keyof typeof FrameType]

export const FrameFlag = {
  /** The frame was sent before. */
  retransmitted: 1,
  /** Send no new DATA until a frame without this flag comes. */
  notReady: 2,
  /** The host speaks: one's own frames, if the line brings them back, are for nobody. On a bus the address says it. */
  host: 4,
  /** Stands for the address; not among the flags of a decoded frame. */
  addressed: 8,
} as const

export interface LinkFrame {
  /** A FrameType, or a number that this version does not know. */
  readonly type: number
  /** FrameFlag bits. */
  readonly flags: number
  /** Of the device on a bus, with `fromDeviceBit` when it speaks; undefined on a line with one device. */
  readonly address?: number | undefined
  readonly seq: number
  readonly ack: number
  readonly payload: Buffer
}

/** Marks the address when the device speaks: its own frames, if the bus brings them back, are for nobody. */
export const fromDeviceBit = 0x80

const headBytes = 3

/** Header and checksum: what a frame is longer than its payload. */
export const frameOverheadBytes = headBytes + 2

/** The same with an address. */
export const addressedOverheadBytes = frameOverheadBytes + 1

/** What a frame with `payloadBytes` takes on the wire at most, both delimiters included. */
export function wireBytesMax(payloadBytes: number): number {
  return cobsBytesMax(frameOverheadBytes + payloadBytes) + 2
}

/** The frame as it goes out; the buffer belongs to the caller. */
export function encodeFrame(frame: LinkFrame): Buffer {
  const { address } = frame
  const addressBytes = address === undefined ? 0 : 1
  const plain = Buffer.allocUnsafe(frameOverheadBytes + addressBytes + frame.payload.length)
  plain[0] = (frame.type << 4) | frame.flags | (address === undefined ? 0 : FrameFlag.addressed)
  if (address !== undefined) plain[1] = address
  plain[1 + addressBytes] = frame.seq
  plain[2 + addressBytes] = frame.ack
  frame.payload.copy(plain, headBytes + addressBytes)
  const crcAt = plain.length - 2
  plain.writeUInt16LE(crc16(plain, 0, crcAt), crcAt)

  const wire = Buffer.allocUnsafe(wireBytesMax(addressBytes + frame.payload.length))
  wire[0] = 0
  const end = cobsEncode(plain, wire, 1)
  wire[end] = 0
  return wire.subarray(0, end + 1)
}

/** The frame in the first `byteCount` of `bytes`, or undefined when it is damaged. Its payload is a view of `bytes`. */
export function decodeFrame(bytes: Buffer, byteCount: number): LinkFrame | undefined {
  if (byteCount < frameOverheadBytes) return undefined
  const crcAt = byteCount - 2
  if (crc16(bytes, 0, crcAt) !== bytes.readUInt16LE(crcAt)) return undefined
  const ctl = bytes[0] as number
  const addressBytes = (ctl & FrameFlag.addressed) === 0 ? 0 : 1
  if (byteCount < frameOverheadBytes + addressBytes) return undefined
  return {
    type: ctl >>> 4,
    flags: ctl & 0x07,
    address: addressBytes === 0 ? undefined : bytes[1],
    seq: bytes[1 + addressBytes] as number,
    ack: bytes[2 + addressBytes] as number,
    payload: bytes.subarray(headBytes + addressBytes, crcAt),
  }
}
