/**
 * A device in its place: what it is wired to.
 *
 *   wired     alone on a line (line-port.ts)
 *   bus       with others on one pair of wires (bus.ts)
 *   network   a device with a network of its own, straight to the broker
 */
import type { DeviceClock } from '../clock.ts'
import { type DeviceOptions, SimulatedDevice } from '../device.ts'
import { SeededRandom } from '../seeded-random.ts'
import type { Bus } from './bus.ts'
import { Cable } from './cable.ts'
import type { LinePort, OnLineBytes } from './line-port.ts'

export const TRANSPORTS = ['pty', 'tcp', 'none'] as const
export type Transport = (typeof TRANSPORTS)[number]

export interface Station {
  readonly device: SimulatedDevice
  /** Without one there are no line faults. */
  readonly cable: Cable | undefined
  /** What the gateway has as `path` of the port; undefined = it has no part in it. */
  readonly address: string | undefined
  plugIn(): Promise<void>
  unplug(): Promise<void>
  close(): Promise<void>
}

export class WiredStation implements Station {
  readonly cable: Cable
  readonly device: SimulatedDevice
  readonly #port: LinePort

  constructor(options: DeviceOptions, seed: number, clock: DeviceClock, makePort: (onBytes: OnLineBytes) => LinePort) {
    this.#port = makePort((chunk) => this.cable.fromGateway(chunk))
    this.cable = new Cable(options, { clock, seed, write: (chunk) => this.#port.write(chunk) })
    this.device = this.cable.device
  }

  get address(): string {
    return this.#port.address
  }

  plugIn(): Promise<void> {
    return this.#port.plugIn()
  }

  unplug(): Promise<void> {
    return this.#port.unplug()
  }

  async close(): Promise<void> {
    this.cable.close()
    await this.#port.close()
  }
}

export class BusStation implements Station {
  readonly cable: Cable
  readonly device: SimulatedDevice
  readonly #bus: Bus

  constructor(options: DeviceOptions, seed: number, bus: Bus) {
    this.#bus = bus
    this.cable = bus.join(options, seed)
    this.device = this.cable.device
  }

  get address(): string {
    return this.#bus.port.address
  }

  plugIn(): Promise<void> {
    return this.#bus.plugIn()
  }

  unplug(): Promise<void> {
    return this.#bus.unplug()
  }

  async close(): Promise<void> {
    this.cable.close()
    await this.#bus.port.close()
  }
}

export class NetworkStation implements Station {
  readonly cable = undefined
  readonly address = undefined
  readonly device: SimulatedDevice

  constructor(options: DeviceOptions, seed: number, clock: DeviceClock) {
    const uart = { write: () => undefined, clear: () => undefined }
    this.device = new SimulatedDevice(options, uart, clock, new SeededRandom(seed))
  }

  async plugIn(): Promise<void> {
    if (!this.device.isOn && this.device.flash.bootCount > 0) this.device.start()
  }

  /** Its network cable: nothing is said any more. */
  async unplug(): Promise<void> {
    this.device.stop()
  }

  async close(): Promise<void> {
    this.device.stop()
  }
}
