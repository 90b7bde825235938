/** How much of what a line could carry it does carry, of the busier direction, over ten seconds. */
import type { Clock } from '../ports/clock.ts'
import { lineMs } from './line-rate.ts'

const windowMs = 10_000

export class LineLoad {
  /** Bytes from the device and to it. They only rise. */
  receivedByteCount = 0
  writtenByteCount = 0
  readonly #clock: Clock
  #baudRate: number
  #startedAtMs: number
  #receivedMs = 0
  #writtenMs = 0
  #lastShare = 0

  constructor(baudRate: number, clock: Clock) {
    this.#baudRate = baudRate
    this.#clock = clock
    this.#startedAtMs = clock.nowMs()
  }

  changeRate(baudRate: number): void {
    this.#baudRate = baudRate
  }

  onReceived(byteCount: number): void {
    this.#roll()
    this.receivedByteCount += byteCount
    this.#receivedMs += lineMs(byteCount, this.#baudRate)
  }

  onWritten(byteCount: number): void {
    this.#roll()
    this.writtenByteCount += byteCount
    this.#writtenMs += lineMs(byteCount, this.#baudRate)
  }

  /** 0 to 100; more on USB and TCP, where the baud rate says nothing about the speed. */
  get percent(): number {
    this.#roll()
    return Math.round(this.#lastShare * 100)
  }

  #roll(): void {
    const nowMs = this.#clock.nowMs()
    const elapsedMs = nowMs - this.#startedAtMs
    if (elapsedMs < windowMs) return
    this.#lastShare = Math.max(this.#receivedMs, this.#writtenMs) / elapsedMs
    this.#receivedMs = this.#writtenMs = 0
    this.#startedAtMs = nowMs
  }
}
