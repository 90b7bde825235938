/**
 * CRC-16/CCITT-FALSE: polynomial 0x1021, initial value 0xFFFF, bits not reflected, nothing added at the end; the nine
 * bytes `123456789` give 0x29B1. In the frames of our lengths it finds every error of up to three bits and every burst
 * of up to sixteen.
 */
const table = new Uint16Array(256)
for (let index = 0; index < table.length; index++) {
  let remainder = index << 8
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 0x8000 ? (remainder << 1) ^ 0x1021 : remainder << 1
  table[index] = remainder
}

/** Checksum of the bytes `start` to `end`. */
export function crc16(bytes: Buffer, start: number, end: number): number {
  let crc = 0xffff
  for (let at = start; at < end; at++) {
    crc = ((crc << 8) ^ (table[(crc >>> 8) ^ (bytes[at] as number)] as number)) & 0xffff
  }
  return crc
}
