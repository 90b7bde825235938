/** What a device says of itself in RST and RSTACK. */
import { littleEndian, toFields } from './link-codec.ts'

/** By the number that RST carries. */
export const RESET_REASONS = ['unknown', 'power-on', 'brown-out', 'watchdog', 'pin', 'software'] as const
export type ResetReason = (typeof RESET_REASONS)[number]

export const Field = {
  version: 1,
  role: 2,
  bootId: 3,
  conversation: 4,
  reason: 5,
  mtu: 6,
  credit: 7,
  window: 8,
  id: 9,
  name: 10,
  wants: 11,
  baudRates: 12,
}

export interface DeviceHello {
  readonly bootId: number
  readonly conversation: number
  readonly reason: ResetReason
  readonly mtuBytes: number
  readonly creditBytes: number
  readonly windowFrames: number
  readonly id: string
  readonly firmware: string
  readonly wantsTime: boolean
  readonly baudRates: readonly number[]
}

const textBytesMax = 24

export function helloPayload(hello: DeviceHello): Buffer {
  const { baudRates, wantsTime } = hello
  return toFields([
    [Field.version, littleEndian(1, 1)],
    [Field.role, littleEndian(0, 1)],
    [Field.bootId, littleEndian(hello.bootId, 4)],
    [Field.conversation, littleEndian(hello.conversation, 4)],
    [Field.reason, littleEndian(RESET_REASONS.indexOf(hello.reason), 1)],
    [Field.mtu, littleEndian(hello.mtuBytes, 2)],
    [Field.credit, littleEndian(hello.creditBytes, 2)],
    [Field.window, littleEndian(hello.windowFrames, 1)],
    [Field.id, Buffer.from(hello.id).subarray(0, textBytesMax)],
    [Field.name, Buffer.from(hello.firmware).subarray(0, textBytesMax)],
    ...(wantsTime ? [[Field.wants, Buffer.from([1])] as const] : []),
    ...(baudRates.length > 0
      ? [[Field.baudRates, Buffer.concat(baudRates.map((rate) => littleEndian(rate, 4)))] as const]
      : []),
  ])
}
