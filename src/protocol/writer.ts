/**
 * Writes fields into an OutputBuffer, for the packets that go out seldom. The size of a packet is counted first and
 * `writeFixedHeader` makes room for all of it; the other functions here only fill that room.
 */
import { assert } from '../lib/assert.ts'
import type { OutputBuffer } from './output.ts'
import { variableByteCount, writeVariableByteInteger } from './variable-byte-integer.ts'

const fieldBytesMax = 65_535

/** Up to here a loop over characters is faster than the call into the runtime. */
const loopCharsMax = 64

/** Begins a packet whose body has exactly `bodyByteCount` bytes. */
export function writeFixedHeader(out: OutputBuffer, header: number, bodyByteCount: number): void {
  out.ensure(1 + variableByteCount(bodyByteCount) + bodyByteCount)
  writeUint8(out, header)
  out.length = writeVariableByteInteger(out.bytes, out.length, bodyByteCount)
}

export function writeUint8(out: OutputBuffer, value: number): void {
  out.bytes[out.length++] = value
}

export function writeUint16(out: OutputBuffer, value: number): void {
  out.bytes[out.length++] = value >> 8
  out.bytes[out.length++] = value
}

export function writeUint32(out: OutputBuffer, value: number): void {
  out.length = out.bytes.writeUInt32BE(value, out.length)
}

/** Bytes of `text` in UTF-8 with its length before it. */
export function stringByteCount(text: string): number {
  if (isShortAscii(text)) return 2 + text.length
  const byteCount = Buffer.byteLength(text)
  assert(byteCount <= fieldBytesMax, 'string is too long for its length prefix')
  return 2 + byteCount
}

export function writeString(out: OutputBuffer, text: string): void {
  const start = out.length + 2
  if (isShortAscii(text)) {
    const { bytes } = out
    writeUint16(out, text.length)
    for (let i = 0; i < text.length; i++) bytes[start + i] = text.charCodeAt(i)
    out.length = start + text.length
    return
  }
  const byteCount = out.bytes.write(text, start, 'utf8')
  writeUint16(out, byteCount)
  out.length = start + byteCount
}

function isShortAscii(text: string): boolean {
  if (text.length > loopCharsMax) return false
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return false
  return true
}

/** Bytes of `binary` with its length before it. */
export function binaryByteCount(binary: Buffer): number {
  assert(binary.length <= fieldBytesMax, 'binary field is too long for its length prefix')
  return 2 + binary.length
}

export function writeBinary(out: OutputBuffer, binary: Buffer): void {
  writeUint16(out, binary.length)
  out.length += binary.copy(out.bytes, out.length)
}
