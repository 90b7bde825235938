/**
 * The header that a proxy puts before the bytes of its client, to tell where that client comes from: PROXY protocol
 * version 1 (a line of text) and version 2 (binary). Pure: bytes in, header out. What comes behind the header, which
 * is already the client, stays where it is.
 */
import { isIPv4, isIPv6 } from 'node:net'
import type { Address } from './address.ts'

export interface ProxyHeader {
  readonly byteCount: number
  /** undefined = the proxy speaks for itself, as in a health check, or does not know. */
  readonly source: Address | undefined
}

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
const lineStart = Buffer.from('PROXY ', 'latin1')

/** With the line end. */
const lineBytesMax = 107

/** Behind the addresses a proxy may tell more, which is skipped. */
const bodyBytesMax = 4096
const headBytes = 16

/**
 * @param bytes everything that came so far
 * @returns undefined when the header is not complete yet; words that say what is wrong with it
 */
export function parseProxyHeader(bytes: Buffer): ProxyHeader | string | undefined {
  if (startsAlike(bytes, signature)) return bytes.length < headBytes ? undefined : parseBinary(bytes)
  if (startsAlike(bytes, lineStart)) return parseLine(bytes)
  return 'no PROXY protocol header'
}

function startsAlike(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length)
  return bytes.compare(start, 0, length, 0, length) === 0
}

/** `PROXY TCP4 192.0.2.1 198.51.100.1 49152 1883`, or `PROXY UNKNOWN` with anything behind it. */
function parseLine(bytes: Buffer): ProxyHeader | string | undefined {
  const end = bytes.subarray(0, lineBytesMax).indexOf('\r\n')
  if (end < 0) return bytes.length < lineBytesMax ? undefined : 'PROXY protocol line without end'
  const line = bytes.toString('latin1', 0, end)
  const byteCount = end + 2
  if (line === 'PROXY UNKNOWN' || line.startsWith('PROXY UNKNOWN ')) return { byteCount, source: undefined }
  const [, family, host = '', ownHost = '', port = '', ownPort = '', ...more] = line.split(' ')
  const isHost = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : undefined
  if (isHost?.(host) && isHost(ownHost) && isPort(port) && isPort(ownPort) && more.length === 0) {
    return { byteCount, source: { host, port: Number(port) } }
  }
  return 'malformed PROXY protocol line'
}

function isPort(text: string): boolean {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535
}

function parseBinary(bytes: Buffer): ProxyHeader | string | undefined {
  const [versionAndCommand, familyAndTransport] = bytes.subarray(signature.length)
  const bodyLength = bytes.readUInt16BE(14)
  if (versionAndCommand !== 0x20 && versionAndCommand !== 0x21) return 'unknown PROXY protocol version or command'
  if (bodyLength > bodyBytesMax) return 'PROXY protocol header too long'
  const byteCount = headBytes + bodyLength
  if (bytes.length < byteCount) return undefined
  if (versionAndCommand === 0x20) return { byteCount, source: undefined }
  const body = bytes.subarray(headBytes, byteCount)
  switch (familyAndTransport) {
    case 0x11:
      return body.length < 12 ? 'PROXY protocol header too short' : { byteCount, source: addressAt(body, 4, ipv4) }
    case 0x21:
      return body.length < 36 ? 'PROXY protocol header too short' : { byteCount, source: addressAt(body, 16, ipv6) }
    default:
      return { byteCount, source: undefined }
  }
}

/** Both hosts stand before both ports. */
function addressAt(body: Buffer, hostBytes: number, format: (bytes: Buffer) => string): Address {
  return { host: format(body.subarray(0, hostBytes)), port: body.readUInt16BE(2 * hostBytes) }
}

function ipv4(bytes: Buffer): string {
  return bytes.join('.')
}

/** In the short form that the system uses as well. */
function ipv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16))
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}
