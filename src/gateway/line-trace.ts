/**
 * What is on a serial line, in words, for people who look: frames of the link with their fields, lines, and garbage as
 * a hex dump. Only listens: it answers nothing, so a device that asks stays without an answer.
 */

import type { Decoded } from './lines/adapter.ts'
import { TextLines } from './lines/text-lines.ts'
import { LinkDecoder, type LinkFault } from './link-decoder.ts'
import { FrameFlag, FrameType, fromDeviceBit, type LinkFrame } from './link-frame.ts'
import { decodeHello } from './link-hello.ts'

export type TracedProtocol = 'link' | 'lines' | 'raw'

/** Bytes of garbage that are shown of one piece. */
const dumpBytesMax = 64
const rowBytes = 16
/** Longer frames than any rate has are not looked for. */
const mtuBytes = 2048

export class LineTrace {
  readonly #print: (line: string) => void
  readonly #feed: (chunk: Buffer) => void
  readonly #faults = { checksum: 0, cobs: 0, oversize: 0 }
  #byteCount = 0
  #unitCount = 0

  constructor(protocol: TracedProtocol, print: (line: string) => void) {
    this.#print = print
    this.#feed = { link: () => this.#linkFeed(), lines: () => this.#lineFeed(), raw: () => this.#rawFeed() }[protocol]()
  }

  push(chunk: Buffer): void {
    this.#byteCount += chunk.length
    this.#feed(chunk)
  }

  /** `1234 bytes, 12 units, 1 checksum, 0 cobs, 0 oversize` */
  get summary(): string {
    const faults = Object.entries(this.#faults).map(([fault, count]) => `${count} ${fault}`)
    return [`${this.#byteCount} bytes`, `${this.#unitCount} units`, ...faults].join(', ')
  }

  #linkFeed(): (chunk: Buffer) => void {
    const decoder = new LinkDecoder(mtuBytes, {
      onFrame: (frame) => {
        this.#unitCount++
        this.#print(describeFrame(frame))
      },
      onGarbage: (fault, bytes) => this.#garbage(fault, bytes),
    })
    return (chunk) => decoder.push(chunk)
  }

  #lineFeed(): (chunk: Buffer) => void {
    const settings = { lineBytesMax: 4096, hasKeys: true, checksum: false, downLine: undefined }
    const lines = new TextLines(settings)
    return (chunk) => {
      for (const unit of lines.decode(chunk)) this.#unit(unit)
    }
  }

  #rawFeed(): (chunk: Buffer) => void {
    return (chunk) => {
      this.#unitCount++
      for (const row of hexDump(chunk)) this.#print(row)
    }
  }

  #unit(unit: Decoded): void {
    if (unit.kind === 'fault') {
      const fault = unit.fault === 'overlong' ? 'oversize' : unit.fault === 'garbage' ? 'cobs' : 'checksum'
      this.#garbage(fault, unit.bytes)
      return
    }
    this.#unitCount++
    this.#print(describeUnit(unit))
  }

  #garbage(fault: LinkFault, bytes: Buffer): void {
    this.#faults[fault]++
    const shown = bytes.subarray(0, dumpBytesMax)
    this.#print(
      `garbage  ${faultWords[fault]}, ${bytes.length} bytes${shown.length < bytes.length ? ', the first:' : ''}`,
    )
    for (const row of hexDump(shown)) this.#print(row)
  }
}

/** `DATA     seq 1 ack 1 RETRANSMITTED  5 bytes "hello"` */
export function describeFrame({ type, flags, address, seq, ack, payload }: LinkFrame): string {
  const where = address === undefined ? '' : ` address ${address & ~fromDeviceBit}`
  const name = (typeNames.get(type) ?? `TYPE ${type}`).padEnd(8) + where
  if (type === FrameType.rst || type === FrameType.rstAck) return `${name} ${describeHello(payload)}`
  const marks = Object.entries(flagNames).filter(([, bit]) => (flags & bit) !== 0)
  const head = [`seq ${seq}`, `ack ${ack}`, ...marks.map(([mark]) => mark)].join(' ')
  return `${name} ${head}${describePayload(type, payload)}`
}

function describePayload(type: number, payload: Buffer): string {
  if (type === FrameType.baud && payload.length === 4) return `  ${payload.readUInt32LE(0)} baud`
  if (type === FrameType.time && payload.length >= 9) {
    return `  ${payload.readBigUInt64LE(0)} ms since 1970, quality ${payload[8]}`
  }
  return payload.length === 0 ? '' : `  ${payload.length} bytes ${quoted(payload)}`
}

function describeHello(payload: Buffer): string {
  const hello = decodeHello(payload)
  if (hello === undefined) return `${payload.length} bytes that say nothing`
  const hex = (value: number) => value.toString(16).padStart(8, '0')
  const rates = hello.baudRates.length === 0 ? '' : ` rates ${hello.baudRates.join(',')}`
  return (
    `${hello.role} ${quoted(Buffer.from(hello.deviceId))} ${quoted(Buffer.from(hello.firmware))} boot ${hex(hello.bootId)} ` +
    `conversation ${hex(hello.conversation)} reset ${hello.resetReason} mtu ${hello.mtuBytes} ` +
    `credit ${hello.creditBytes} window ${hello.windowFrames}${rates}${hello.wantsTime ? ' wants time' : ''}`
  )
}

function describeUnit(unit: Exclude<Decoded, { kind: 'fault' }>): string {
  switch (unit.kind) {
    case 'message':
      return `message  ${unit.topic} ${quoted(unit.payload)} qos ${unit.qos}${unit.retain ? ' retained' : ''}`
    case 'value':
      return `value    ${JSON.stringify(unit.variables)} ${quoted(unit.payload)}`
    case 'subscribe':
      return `down     ${unit.topicFilter}`
    case 'log':
      return `text     ${quoted(unit.text)}`
  }
}

/** What can be printed as it is, the rest as `\x00`: a terminal is not the device's to steer. */
function quoted(bytes: Buffer): string {
  const text = [...bytes.subarray(0, dumpBytesMax)].map((byte) =>
    byte >= 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c
      ? String.fromCharCode(byte)
      : `\\x${byte.toString(16).padStart(2, '0')}`,
  )
  return `"${text.join('')}"${bytes.length > dumpBytesMax ? '…' : ''}`
}

function hexDump(bytes: Buffer): string[] {
  return Array.from({ length: Math.ceil(bytes.length / rowBytes) }, (_, row) => {
    const piece = [...bytes.subarray(row * rowBytes, (row + 1) * rowBytes)]
    const hex = piece.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
    const text = piece.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('')
    return `         ${hex.padEnd(rowBytes * 3)} |${text}|`
  })
}

const typeNames = new Map<number, string>(Object.entries(FrameType).map(([name, type]) => [type, name.toUpperCase()]))
const flagNames = {
  RETRANSMITTED: FrameFlag.retransmitted,
  'NOT-READY': FrameFlag.notReady,
} as const
const faultWords: Readonly<Record<LinkFault, string>> = {
  checksum: 'wrong checksum or grammar',
  cobs: 'no frame, no text',
  oversize: 'longer than any frame or line',
}
