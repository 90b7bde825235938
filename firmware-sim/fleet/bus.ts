/**
 * Several devices on one pair of wires (RS-485) behind one port of the gateway. What one says, all others hear at the
 * same time; each has a cable of its own, so that a fault can be on the stub of one device alone.
 */
import type { DeviceClock } from '../clock.ts'
import type { DeviceOptions } from '../device.ts'
import { Cable } from './cable.ts'
import type { LinePort, OnLineBytes } from './line-port.ts'

export class Bus {
  readonly port: LinePort
  readonly #clock: DeviceClock
  readonly #cables: Cable[] = []
  #isPlugged = false

  constructor(clock: DeviceClock, makePort: (onBytes: OnLineBytes) => LinePort) {
    this.#clock = clock
    this.port = makePort((chunk) => {
      for (const cable of this.#cables) cable.fromGateway(Buffer.from(chunk))
    })
  }

  /** One more device, with the next address: 1, 2 … */
  join(options: DeviceOptions, seed: number): Cable {
    const address = this.#cables.length + 1
    const cable = new Cable({ ...options, address }, { clock: this.#clock, seed, write: (chunk) => said(chunk) })
    const said = (chunk: Buffer): void => {
      for (const other of this.#cables) if (other !== cable) other.device.receive(Buffer.from(chunk))
      this.port.write(chunk)
    }
    this.#cables.push(cable)
    return cable
  }

  /** The adapter of all: whoever plugs it in or pulls it first. */
  async plugIn(): Promise<void> {
    if (this.#isPlugged) return
    this.#isPlugged = true
    await this.port.plugIn()
  }

  async unplug(): Promise<void> {
    if (!this.#isPlugged) return
    this.#isPlugged = false
    await this.port.unplug()
  }
}
