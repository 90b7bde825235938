/**
 * What an end says of itself in RST and RSTACK: fields of `type, length, value`, numbers with the low byte first.
 * Unknown fields are skipped, so that newer ends can say more. An end that leaves out its limits gets the smallest.
 */
import { assert } from '../lib/assert.ts'

export type LinkRole = 'device' | 'host'

export interface LinkHello {
  readonly role: LinkRole
  /** Random, drawn once per start of the end: a new one means that it restarted. */
  readonly bootId: number
  /** Chosen by the sender of the RST, another one than before; the RSTACK repeats it. */
  readonly conversation: number
  readonly resetReason: ResetReason
  /** Longest frame that the end takes, header and checksum included, before COBS. */
  readonly mtuBytes: number
  /** Bytes on the wire that may be on their way to the end without its acknowledgement. */
  readonly creditBytes: number
  /** DATA frames that may be on their way to the end without its acknowledgement, 1 to 7. */
  readonly windowFrames: number
  /** Serial number or name, at most `textBytesMax` bytes; '' = none. Self-declared: it proves nothing. */
  readonly deviceId: string
  /** Firmware name and version, at most `textBytesMax` bytes; '' = none. */
  readonly firmware: string
  /** The end asks to be told the time as soon as the conversation begins. */
  readonly wantsTime: boolean
  /** Other baud rates that the end can change to, at most `baudRatesMax`. */
  readonly baudRates: readonly number[]
}

/** Why the end last started, by number on the wire. */
const RESET_REASONS = ['unknown', 'power-on', 'brown-out', 'watchdog', 'pin', 'software'] as const
export type ResetReason = (typeof RESET_REASONS)[number]

/** Keeps a RST within what the slowest line takes. */
export const textBytesMax = 24

export const baudRatesMax = 4

/** What a RST has at most, with every field at its longest: an end takes it whatever its MTU. */
export const helloFrameBytesMax = 128

/** Bounds of the longest frame, header and checksum included. */
export const mtuBytesMin = 48
export const mtuBytesMax = 2048

const creditBytesMin = 64
export const windowFramesMax = 7

const linkVersion = 1

const Field = {
  version: 1,
  role: 2,
  bootId: 3,
  conversation: 4,
  resetReason: 5,
  mtu: 6,
  credit: 7,
  windowFrames: 8,
  deviceId: 9,
  firmware: 10,
  wants: 11,
  baudRates: 12,
} as const

/** Bits of `wants`. */
const Want = { time: 1 } as const

const rateBytes = 4

export function encodeHello(hello: LinkHello): Buffer {
  return Buffer.concat([
    numberField(Field.version, linkVersion, 1),
    numberField(Field.role, hello.role === 'host' ? 1 : 0, 1),
    numberField(Field.bootId, hello.bootId, 4),
    numberField(Field.conversation, hello.conversation, 4),
    numberField(Field.resetReason, RESET_REASONS.indexOf(hello.resetReason), 1),
    numberField(Field.mtu, hello.mtuBytes, 2),
    numberField(Field.credit, hello.creditBytes, 2),
    numberField(Field.windowFrames, hello.windowFrames, 1),
    textField(Field.deviceId, hello.deviceId),
    textField(Field.firmware, hello.firmware),
    ...(hello.wantsTime ? [numberField(Field.wants, Want.time, 1)] : []),
    ...(hello.baudRates.length > 0 ? [ratesField(hello.baudRates)] : []),
  ])
}

/** undefined when the fields are cut, or lack the role, the boot id or the conversation. */
export function decodeHello(payload: Buffer): LinkHello | undefined {
  const fields = new Map<number, Buffer>()
  for (let at = 0; at < payload.length; ) {
    const end = at + 2 + (payload[at + 1] ?? payload.length)
    if (end > payload.length) return undefined
    fields.set(payload[at] as number, payload.subarray(at + 2, end))
    at = end
  }
  const role = numberOf(fields, Field.role)
  const bootId = numberOf(fields, Field.bootId)
  const conversation = numberOf(fields, Field.conversation)
  if (role === undefined || role > 1 || bootId === undefined || conversation === undefined) return undefined
  return {
    role: role === 1 ? 'host' : 'device',
    bootId,
    conversation,
    resetReason: RESET_REASONS[numberOf(fields, Field.resetReason) ?? 0] ?? 'unknown',
    mtuBytes: Math.max(mtuBytesMin, numberOf(fields, Field.mtu) ?? 0),
    creditBytes: Math.max(creditBytesMin, numberOf(fields, Field.credit) ?? 0),
    windowFrames: Math.min(windowFramesMax, Math.max(1, numberOf(fields, Field.windowFrames) ?? 1)),
    deviceId: fields.get(Field.deviceId)?.toString('utf8') ?? '',
    firmware: fields.get(Field.firmware)?.toString('utf8') ?? '',
    wantsTime: ((numberOf(fields, Field.wants) ?? 0) & Want.time) !== 0,
    baudRates: ratesOf(fields.get(Field.baudRates)),
  }
}

function numberField(type: number, value: number, byteCount: number): Buffer {
  const field = Buffer.alloc(2 + byteCount)
  field[0] = type
  field[1] = byteCount
  field.writeUIntLE(value, 2, byteCount)
  return field
}

function textField(type: number, text: string): Buffer {
  const value = Buffer.from(text, 'utf8')
  assert(value.length <= textBytesMax, 'a text in a link hello is too long')
  return Buffer.concat([Buffer.from([type, value.length]), value])
}

function ratesField(rates: readonly number[]): Buffer {
  assert(rates.length <= baudRatesMax, 'too many baud rates in a link hello')
  const field = Buffer.alloc(2 + rateBytes * rates.length)
  field[0] = Field.baudRates
  field[1] = rateBytes * rates.length
  for (const [at, rate] of rates.entries()) field.writeUInt32LE(rate, 2 + rateBytes * at)
  return field
}

/** None when the field is cut inside of a rate. */
function ratesOf(value: Buffer | undefined): readonly number[] {
  if (value === undefined || value.length % rateBytes !== 0) return []
  const count = Math.min(baudRatesMax, value.length / rateBytes)
  return Array.from({ length: count }, (_, at) => value.readUInt32LE(rateBytes * at))
}

function numberOf(fields: Map<number, Buffer>, type: number): number | undefined {
  const value = fields.get(type)
  return value === undefined || value.length < 1 || value.length > 4 ? undefined : value.readUIntLE(0, value.length)
}
