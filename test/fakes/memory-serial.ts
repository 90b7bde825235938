/**
 * The SerialDriver port without a tty: a socket in memory into which a device is plugged and pulled. Opening takes a
 * turn, as it does in the world.
 */
import { Failure } from '../../src/lib/errors.ts'
import type { Clock } from '../../src/ports/clock.ts'
import type { SerialDriver, SerialLine, SerialOwner, SerialSettings } from '../../src/ports/serial.ts'

export class MemorySerial implements SerialDriver {
  /** Every try to open, by time. */
  readonly triesAtMs: number[] = []
  openLineCount = 0
  isPaused = false
  /** Every change of the baud rate. */
  readonly rates: number[] = []
  /** What the gateway writes while a device is plugged in. */
  onWritten: (bytes: Buffer) => void = () => {}
  /** The system takes no more bytes. */
  isStuck = false
  #isPlugged = false
  #denial = 'No such file or directory'
  #line: MemoryLine | undefined
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  open(settings: SerialSettings, owner: SerialOwner): SerialLine {
    this.triesAtMs.push(this.#clock.nowMs())
    const line = new MemoryLine(this, owner)
    this.#clock.after(0, () => {
      if (line.isClosed) return
      if (this.#isPlugged) this.#line = line.open()
      else line.closed(new Failure('ERR_SERIAL_OPEN', `${settings.path}: ${this.#denial}`))
    })
    return line
  }

  plug(): void {
    this.#isPlugged = true
  }

  unplug(): void {
    this.#isPlugged = false
    this.#line?.closed(new Failure('ERR_SERIAL_CLOSED', 'port'))
    this.#line = undefined
  }

  /** Why the next tries to open fail. */
  deny(reason: string): void {
    this.#denial = reason
  }

  /** Bytes from the device. */
  deliver(bytes: Buffer): void {
    this.#line?.owner.receive(bytes)
  }

  later(task: () => void): void {
    this.#clock.after(0, task)
  }
}

class MemoryLine implements SerialLine {
  readonly owner: SerialOwner
  isClosed = false
  #isOpen = false
  #stuckByteCount = 0
  readonly #port: MemorySerial

  constructor(port: MemorySerial, owner: SerialOwner) {
    this.#port = port
    this.owner = owner
  }

  get bufferedByteCount(): number {
    return this.#stuckByteCount
  }

  open(): this {
    this.#isOpen = true
    this.#port.openLineCount++
    this.owner.onOpen()
    return this
  }

  write(bytes: Buffer): void {
    if (!this.#isOpen) return
    if (this.#port.isStuck) this.#stuckByteCount += bytes.length
    else this.#port.onWritten(bytes)
  }

  pause(): void {
    this.#port.isPaused = true
  }

  resume(): void {
    this.#port.isPaused = false
  }

  changeRate(baudRate: number): void {
    if (this.#isOpen) this.#port.rates.push(baudRate)
  }

  close(): void {
    if (!this.isClosed) this.#port.later(() => this.closed(undefined))
  }

  closed(failure: Failure | undefined): void {
    if (this.isClosed) return
    this.isClosed = true
    if (this.#isOpen) this.#port.openLineCount--
    this.#isOpen = false
    this.owner.onClosed(failure)
  }
}
