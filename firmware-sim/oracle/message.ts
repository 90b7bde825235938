/**
 * What a simulated device says in each message, so that whoever gets it can check it: whose it is, the how manieth,
 * when it was made, and a digest over all of that.
 */
import { crc32 } from 'node:zlib'

export interface Message {
  readonly device: string
  readonly n: number
  /** Milliseconds since 1970, by the clock of the device. */
  readonly t: number
  /** What the sensor measured, if it measures. */
  readonly v?: number | undefined
}

/** The message with its digest, as one flat object: every grammar can carry it. */
export function signed(message: Message): Message & { readonly d: string } {
  const { device, n, t, v } = message
  return { device, n, t, ...(v !== undefined && { v }), d: digestOf(message) }
}

/** JSON, filled up with spaces to `byteCount`. */
export function encodeMessage(message: Message, byteCount = 0): Buffer {
  return Buffer.from(JSON.stringify(signed(message)).padEnd(byteCount))
}

/** undefined: not a message of a simulated device. `isWhole`: its digest is right. */
export function decodeMessage(payload: string | Buffer): (Message & { readonly isWhole: boolean }) | undefined {
  try {
    const fields: unknown = JSON.parse(payload.toString())
    return fields !== null && typeof fields === 'object' ? checked(fields as Record<string, unknown>) : undefined
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return undefined
  }
}

function checked(fields: Record<string, unknown>): (Message & { readonly isWhole: boolean }) | undefined {
  const { device, n, t, v, d } = fields
  if (device === undefined || !Number.isSafeInteger(Number(n)) || !Number.isFinite(Number(t))) return undefined
  const message = { device: String(device), n: Number(n), t: Number(t), v: v === undefined ? undefined : Number(v) }
  return { ...message, isWhole: d === digestOf(message) }
}

/** A letter first: a digest of digits alone must not be taken for a number on the way. */
function digestOf({ device, n, t, v }: Message): string {
  return `x${crc32(`${device} ${n} ${t} ${v ?? ''}`).toString(16)}`
}
