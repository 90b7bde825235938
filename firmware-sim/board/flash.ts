/**
 * What a board keeps without power: the queue of its readings, the version of its firmware, and counters. Writing
 * wears it out, so what is written is counted.
 */
import type { ResetReason } from '../device-hello.ts'

export interface Reading {
  readonly n: number
  readonly takenAtMs: number
  readonly payload: Buffer
  packetId: number
  sentCount: number
}

export class Flash {
  /** Oldest first. */
  readonly queue: Reading[] = []
  firmware: string
  bootCount = 0
  writtenByteCount = 0
  /** How often the board was reset, by reason. */
  readonly resets = new Map<ResetReason, number>()

  constructor(firmware: string) {
    this.firmware = firmware
  }

  onBoot(reason: ResetReason): void {
    this.bootCount++
    this.resets.set(reason, (this.resets.get(reason) ?? 0) + 1)
    this.writtenByteCount += 4
  }

  keep(reading: Reading): void {
    this.queue.push(reading)
    this.writtenByteCount += reading.payload.length
  }

  install(firmware: string): void {
    this.firmware = firmware
    this.writtenByteCount += firmware.length
  }

  /** Forgets the queue and answers it. */
  erase(): Reading[] {
    return this.queue.splice(0)
  }
}
