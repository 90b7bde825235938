/** A simulated device on the device end of a real tty, with both directions paced at the baud rate. */
import { SystemClock } from './clock.ts'
import { type DeviceOptions, type DeviceWatcher, SimulatedDevice } from './device.ts'
import { type LineFaults, PacedLine } from './paced-line.ts'
import { SeededRandom } from './seeded-random.ts'
import { DeviceTty } from './tty.ts'

export interface Wiring {
  /** The device end of a pty pair, or a real serial port. */
  readonly path: string
  /** Decides boot ids and conversation numbers. */
  readonly seed: number
  /** Of both directions. */
  readonly faults?: LineFaults | undefined
}

export class WiredDevice {
  readonly device: SimulatedDevice
  /** Towards the gateway, and from it. */
  readonly transmit: PacedLine
  readonly receive: PacedLine
  readonly tty: DeviceTty

  constructor(options: DeviceOptions, wiring: Wiring, watcher: DeviceWatcher = {}) {
    const clock = new SystemClock()
    const { baudRate } = options
    this.transmit = new PacedLine(baudRate, clock, (chunk) => this.tty.write(chunk), wiring.faults)
    this.receive = new PacedLine(baudRate, clock, (chunk) => this.device.receive(chunk), wiring.faults)
    this.device = new SimulatedDevice(options, this.transmit, clock, new SeededRandom(wiring.seed), watcher)
    this.tty = new DeviceTty(wiring.path, baudRate, (chunk) => this.receive.write(Buffer.from(chunk)))
  }

  start(): void {
    this.device.start()
  }

  close(): void {
    this.device.stop()
    this.transmit.clear()
    this.receive.clear()
    this.tty.close()
  }
}
