/** What a baud rate means in bytes and time: 8N1, so ten bits on the line for each byte. */
import { mtuBytesMax, mtuBytesMin } from './link-hello.ts'

const bitsPerByte = 10

/** No frame may hold the line for longer than this. */
const frameMsMax = 100

/** How long `byteCount` bytes take on the line, in milliseconds. */
export function lineMs(byteCount: number, baudRate: number): number {
  return (byteCount * bitsPerByte * 1000) / baudRate
}

/** The longest frame for a baud rate, header and checksum included: 96 bytes at 9600, 1152 at 115200. */
export function mtuOf(baudRate: number): number {
  const bytes = Math.floor((baudRate / bitsPerByte) * (frameMsMax / 1000))
  return Math.min(mtuBytesMax, Math.max(mtuBytesMin, bytes))
}
