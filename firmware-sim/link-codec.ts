/**
 * Frames of the serial link as the firmware makes them: COBS, CRC-16/CCITT-FALSE, `ctl seq ack payload crc`, on a bus
 * with an address behind `ctl`. Written
 * from the specification alone and shared with nothing on the gateway's side, so that a mistake there shows here.
 */

export const Type = {
  rst: 0,
  rstAck: 1,
  data: 2,
  ack: 3,
  nak: 4,
  ping: 5,
  pong: 6,
  log: 7,
  time: 9,
  baud: 10,
  err: 11,
  turn: 12,
} as const
export const Flag = { retransmitted: 1, notReady: 2, host: 4, addressed: 8 } as const

/** In the address, when the device speaks. */
export const fromDevice = 0x80

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly address?: number | undefined
  readonly seq: number
  readonly ack: number
  readonly payload: Buffer
}

/** Bytes of a frame that are not payload. */
export const headerAndCrcBytes = 5

/** The frame on the wire, with a delimiter before and behind it. */
export function toWire(frame: Frame): Buffer {
  const plain = Buffer.concat([
    Buffer.from(
      frame.address === undefined
        ? [frame.type * 16 + frame.flags, frame.seq, frame.ack]
        : [frame.type * 16 + frame.flags + Flag.addressed, frame.address, frame.seq, frame.ack],
    ),
    frame.payload,
    Buffer.alloc(2),
  ])
  plain.writeUInt16LE(crc(plain.subarray(0, -2)), plain.length - 2)
  return Buffer.concat([Buffer.alloc(1), stuff(plain), Buffer.alloc(1)])
}

/** The frame between two delimiters, or undefined when it is damaged. */
export function fromWire(stuffed: Buffer): Frame | undefined {
  const plain = unstuff(stuffed)
  if (plain === undefined || plain.length < headerAndCrcBytes) return undefined
  const body = plain.subarray(0, -2)
  if (crc(body) !== plain.readUInt16LE(body.length)) return undefined
  const [ctl = 0, ...rest] = body.subarray(0, 4)
  const hasAddress = (ctl & Flag.addressed) !== 0
  if (hasAddress && body.length < 4) return undefined
  const address = hasAddress ? rest.shift() : undefined
  const [seq = 0, ack = 0] = rest
  return { type: ctl >> 4, flags: ctl & 7, address, seq, ack, payload: body.subarray(hasAddress ? 4 : 3) }
}

/** Bit by bit, as a controller without room for a table does it. */
export function crc(bytes: Buffer): number {
  let value = 0xffff
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      const carry = (value >> 15) ^ ((byte >> bit) & 1)
      value = ((value << 1) ^ (carry * 0x1021)) & 0xffff
    }
  }
  return value
}

/** Each piece between zeros, cut into groups of at most 254 bytes, goes out behind its length plus one. */
export function stuff(bytes: Buffer): Buffer {
  const out: number[] = []
  let start = 0
  for (;;) {
    const zero = bytes.indexOf(0, start)
    let rest = bytes.subarray(start, zero < 0 ? bytes.length : zero)
    while (rest.length > 254 || (rest.length === 254 && zero >= 0)) {
      out.push(255, ...rest.subarray(0, 254))
      rest = rest.subarray(254)
    }
    out.push(rest.length + 1, ...rest)
    if (zero < 0) return Buffer.from(out)
    start = zero + 1
  }
}

export function unstuff(bytes: Buffer): Buffer | undefined {
  const out: number[] = []
  let rest = bytes
  while (rest.length > 0) {
    const code = rest[0] as number
    if (code === 0 || code > rest.length) return undefined
    out.push(...rest.subarray(1, code))
    rest = rest.subarray(code)
    if (code < 255 && rest.length > 0) out.push(0)
  }
  return Buffer.from(out)
}

/** The fields of RST and RSTACK: type, length, value; numbers with the low byte first. */
export function toFields(fields: readonly (readonly [type: number, value: Buffer])[]): Buffer {
  return Buffer.concat(fields.flatMap(([type, value]) => [Buffer.from([type, value.length]), value]))
}

/** The value of one field, as a number; undefined when it is not there. */
export function numberField(payload: Buffer, wanted: number): number | undefined {
  let rest = payload
  while (rest.length >= 2) {
    const [type = 0, length = 0] = rest
    const value = rest.subarray(2, 2 + length)
    if (type === wanted && value.length === length && length >= 1 && length <= 4) return value.readUIntLE(0, length)
    rest = rest.subarray(2 + length)
  }
  return undefined
}

export function littleEndian(value: number, byteCount: number): Buffer {
  const bytes = Buffer.alloc(byteCount)
  bytes.writeUIntLE(value, 0, byteCount)
  return bytes
}
