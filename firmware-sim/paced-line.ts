/**
 * One direction of a serial line: bytes go in at once and come out at the baud rate, ten bits each, as a UART would
 * hand them over. Ptys and in-memory lines carry bytes as fast as they are written; without this, rates are fiction.
 * Faults come from a seed, so that a run can be repeated.
 */
import type { DeviceClock, DeviceTimer } from './clock.ts'
import { LineDamage, type LineFaults } from './line/faults.ts'

export type { LineFaults } from './line/faults.ts'

const bitsPerByte = 10

/** Bytes are handed over in portions of this time, as a receive FIFO does. */
const portionMsDefault = 1

export class PacedLine {
  /** false: the line is cut; what goes in is lost. */
  isConnected = true
  readonly #bytesPerMs: number
  readonly #portionMs: number
  readonly #clock: DeviceClock
  readonly #deliver: (chunk: Buffer) => void
  #queue: Buffer[] = []
  #byteCount = 0
  /** When the byte at the head of the queue began, in the rhythm of the line. */
  #headAtMs = 0
  #timer: DeviceTimer | undefined
  #damage: LineDamage | undefined
  /** By faults that are over. */
  #damagedByteCount = 0

  /** @param portionMs how long bytes are gathered at most; USB adapters take up to 16 ms */
  constructor(
    baudRate: number,
    clock: DeviceClock,
    deliver: (chunk: Buffer) => void,
    faults?: LineFaults,
    portionMs = portionMsDefault,
  ) {
    this.#bytesPerMs = baudRate / bitsPerByte / 1000
    this.#portionMs = portionMs
    this.#clock = clock
    this.#deliver = deliver
    this.faults = faults
  }

  /** May be changed while the line is in use; undefined = a perfect line. */
  set faults(faults: LineFaults | undefined) {
    this.#damagedByteCount = this.damagedByteCount
    this.#damage = faults === undefined ? undefined : new LineDamage(faults)
  }

  /** Bytes that did not arrive as they were sent, for whatever reason. */
  get damagedByteCount(): number {
    return this.#damagedByteCount + (this.#damage?.damagedByteCount ?? 0)
  }

  /** Bytes that have not come out. */
  get bufferedByteCount(): number {
    return this.#byteCount
  }

  /** Takes ownership of `bytes`. */
  write(bytes: Buffer): void {
    if (!this.isConnected || bytes.length === 0) return
    if (this.#byteCount === 0) this.#headAtMs = Math.max(this.#headAtMs, this.#clock.nowMs())
    this.#queue.push(bytes)
    this.#byteCount += bytes.length
    this.#wake()
  }

  /** What is under way is lost: the sender lost power in the middle of a byte. */
  clear(): void {
    this.#queue = []
    this.#byteCount = 0
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #wake(): void {
    if (this.#timer !== undefined || this.#byteCount === 0) return
    const portionBytes = Math.min(this.#byteCount, Math.max(1, Math.ceil(this.#portionMs * this.#bytesPerMs)))
    const dueMs = this.#headAtMs + portionBytes / this.#bytesPerMs
    this.#timer = this.#clock.after(Math.max(0, dueMs - this.#clock.nowMs()), () => this.#onDue(portionBytes))
  }

  /** At least `portionBytes` are through; a late timer brings more. */
  #onDue(portionBytes: number): void {
    this.#timer = undefined
    const elapsedBytes = Math.floor((this.#clock.nowMs() - this.#headAtMs) * this.#bytesPerMs)
    const chunk = this.#take(Math.max(portionBytes, elapsedBytes))
    this.#headAtMs += chunk.length / this.#bytesPerMs
    this.#wake()
    const received = this.#damage?.apply(chunk) ?? chunk
    if (this.isConnected && received.length > 0) this.#deliver(received)
  }

  #take(byteCountMax: number): Buffer {
    const chunk = Buffer.allocUnsafe(Math.min(byteCountMax, this.#byteCount))
    for (let filled = 0; filled < chunk.length; ) {
      const piece = this.#queue[0] as Buffer
      const count = piece.copy(chunk, filled)
      if (count === piece.length) this.#queue.shift()
      else this.#queue[0] = piece.subarray(count)
      filled += count
    }
    this.#byteCount -= chunk.length
    return chunk
  }
}
