/** A simulated device on the device end of a real tty, with both directions paced at the baud rate. */
import { SystemClock } from './clock.ts'
import type { DeviceOptions, DeviceWatcher } from './device.ts'
import { Cable } from './fleet/cable.ts'
import type { LineFaults } from './line/faults.ts'
import { DeviceTty } from './tty.ts'

export interface Wiring {
  /** The device end of a pty pair, or a real serial port. */
  readonly path: string
  /** Decides boot ids and conversation numbers. */
  readonly seed: number
  /** Of both directions. */
  readonly faults?: LineFaults | undefined
}

export class WiredDevice extends Cable {
  readonly tty: DeviceTty

  constructor(options: DeviceOptions, wiring: Wiring, watcher: DeviceWatcher = {}) {
    super(options, { clock: new SystemClock(), seed: wiring.seed, write: (chunk) => this.tty.write(chunk), watcher })
    for (const line of [this.transmit, this.receive]) line.faults = wiring.faults
    this.tty = new DeviceTty(wiring.path, options.baudRate, (chunk) => this.fromGateway(Buffer.from(chunk)))
  }

  start(): void {
    this.device.start()
  }

  override close(): void {
    super.close()
    this.tty.close()
  }
}
