/**
 * Consistent Overhead Byte Stuffing: bytes with every 0x00 taken out, so that 0x00 can stand between frames. Each
 * group begins with the distance to the next zero; a group of 254 bytes without one costs one byte more. The cost
 * does not depend on the content beyond that, and no length on the wire has to be believed.
 */

/** Zero-free bytes that one group can hold. */
const groupBytesMax = 254

/** What encoding `byteCount` bytes takes at most. */
export function cobsBytesMax(byteCount: number): number {
  return byteCount + Math.max(1, Math.ceil(byteCount / groupBytesMax))
}

/**
 * Writes the encoded `source` into `target` from `at` on and answers where it ends. O(n).
 * `target` has room for `cobsBytesMax(source.length)` bytes there and is another buffer than `source`.
 */
export function cobsEncode(source: Buffer, target: Buffer, at: number): number {
  let codeAt = at
  let end = at + 1
  for (let from = 0; from < source.length; from++) {
    const byte = source[from] as number
    if (byte !== 0) target[end++] = byte
    const isFull = end - codeAt > groupBytesMax
    // A full last group needs no successor: the decoder adds no zero behind it.
    if (byte === 0 || (isFull && from < source.length - 1)) {
      target[codeAt] = end - codeAt
      codeAt = end++
    }
  }
  target[codeAt] = end - codeAt
  return end
}

/**
 * Writes the decoded bytes `start` to `end` of `source` into `target` from 0 on and answers how many there are, or -1
 * when they are not COBS. O(n). `target` holds at least `end - start` bytes; it may be `source` when `start` is 0.
 */
export function cobsDecode(source: Buffer, start: number, end: number, target: Buffer): number {
  let length = 0
  let from = start
  while (from < end) {
    const code = source[from++] as number
    const groupEnd = from + code - 1
    if (code === 0 || groupEnd > end) return -1
    while (from < groupEnd) {
      const byte = source[from++] as number
      if (byte === 0) return -1
      target[length++] = byte
    }
    if (code <= groupBytesMax && from < end) target[length++] = 0
  }
  return length
}
