/** A simulated device and the two directions of its line, paced at the baud rate; the far end is somebody else's. */
import type { DeviceClock } from '../clock.ts'
import { type DeviceOptions, type DeviceWatcher, SimulatedDevice } from '../device.ts'
import type { LineFaults } from '../line/faults.ts'
import { PacedLine } from '../paced-line.ts'
import { SeededRandom } from '../seeded-random.ts'

export type FaultRates = Omit<LineFaults, 'random'>

export interface CableParts {
  readonly clock: DeviceClock
  /** Decides boot ids, conversation numbers, and what the faults do. */
  readonly seed: number
  /** Bytes that came out at the gateway's end. */
  readonly write: (chunk: Buffer) => void
  readonly watcher?: DeviceWatcher
  /** How long bytes are gathered at most before they are handed over. */
  readonly portionMs?: number
}

export class Cable {
  readonly device: SimulatedDevice
  /** Towards the gateway, and from it. */
  readonly transmit: PacedLine
  readonly receive: PacedLine
  /** Two wires for both directions: either end hears itself. */
  isEchoing = false
  /** Who watches the gateway's end: bytes that came out there, and bytes that the gateway sent. Both are borrowed. */
  onPassed: ((from: 'device' | 'gateway', chunk: Buffer) => void) | undefined
  readonly #write: (chunk: Buffer) => void
  readonly #seed: number
  #faultCount = 0

  constructor(options: DeviceOptions, parts: CableParts) {
    const { clock, portionMs, seed, write, watcher } = parts
    this.#write = write
    const { baudRate } = options
    this.#seed = seed
    const lineTo = (deliver: (chunk: Buffer) => void) => new PacedLine(baudRate, clock, deliver, undefined, portionMs)
    this.transmit = lineTo((chunk) => {
      if (this.isEchoing) this.device.receive(Buffer.from(chunk))
      this.#toGateway(chunk)
    })
    this.receive = lineTo((chunk) => {
      if (this.isEchoing) this.#toGateway(Buffer.from(chunk))
      this.device.receive(chunk)
    })
    this.device = new SimulatedDevice(options, this.transmit, clock, new SeededRandom(seed), watcher)
  }

  /** Of both directions, from now on; undefined = a perfect line. The same faults in the same order do the same. */
  fault(rates: FaultRates | undefined): void {
    this.#faultCount++
    for (const [at, line] of [this.transmit, this.receive].entries()) {
      const random = new SeededRandom(this.#seed * 1000 + this.#faultCount * 2 + at)
      line.faults = rates === undefined ? undefined : { ...rates, random }
    }
  }

  /** Bytes from the gateway; takes ownership. */
  fromGateway(chunk: Buffer): void {
    this.onPassed?.('gateway', chunk)
    this.receive.write(chunk)
  }

  close(): void {
    this.device.stop()
    this.transmit.clear()
    this.receive.clear()
  }

  #toGateway(chunk: Buffer): void {
    this.onPassed?.('device', chunk)
    this.#write(chunk)
  }
}
