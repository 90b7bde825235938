/**
 * A device in its place: what it is wired to, and what the gateway opens to reach it.
 *
 *   pty    a pty pair of socat; the gateway opens one end as its serial port
 *   tcp    a TCP port, as a serial server in the network offers it; the gateway dials
 *   none   a device with a network of its own, straight to the broker
 */
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { SystemClock } from '../clock.ts'
import { type DeviceOptions, SimulatedDevice } from '../device.ts'
import { PtyPair } from '../pty.ts'
import { SeededRandom } from '../seeded-random.ts'
import { DeviceTty } from '../tty.ts'
import { Cable } from './cable.ts'

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

const clock = new SystemClock()

export class PtyStation implements Station {
  readonly cable: Cable
  readonly device: SimulatedDevice
  readonly #pty: PtyPair
  readonly #baudRate: number
  #tty: DeviceTty | undefined

  /** @param hostPath where the gateway finds the port; it stays the same over every unplug, as names by id do */
  constructor(options: DeviceOptions, seed: number, hostPath: string) {
    this.#baudRate = options.baudRate
    this.#pty = new PtyPair(hostPath, `${hostPath}.device`)
    this.cable = new Cable(options, { clock, seed, write: (chunk) => this.#tty?.write(chunk) })
    this.device = this.cable.device
  }

  get address(): string {
    return this.#pty.hostPath
  }

  async plugIn(): Promise<void> {
    const { devicePath, hostPath } = this.#pty
    // What a run that was killed has left behind.
    for (const path of [hostPath, devicePath]) rmSync(path, { force: true })
    await this.#pty.plug()
    this.#tty ??= new DeviceTty(devicePath, this.#baudRate, (chunk) => this.cable.fromGateway(Buffer.from(chunk)))
  }

  unplug(): Promise<void> {
    return this.#pty.unplug()
  }

  async close(): Promise<void> {
    this.cable.close()
    this.#tty?.close()
    await this.#pty.unplug()
  }
}

export class TcpStation implements Station {
  readonly cable: Cable
  readonly device: SimulatedDevice
  readonly #port: number
  readonly #server: Server
  #socket: Socket | undefined
  #isPlugged = false

  constructor(options: DeviceOptions, seed: number, port: number) {
    this.#port = port
    this.cable = new Cable(options, { clock, seed, write: (chunk) => this.#socket?.write(chunk) })
    this.device = this.cable.device
    this.#server = createServer({ noDelay: true }, (socket) => this.#onConnection(socket))
  }

  get address(): string {
    return `tcp://127.0.0.1:${this.#port}`
  }

  async plugIn(): Promise<void> {
    this.#isPlugged = true
    if (this.#server.listening) return
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  async unplug(): Promise<void> {
    this.#isPlugged = false
    this.#socket?.destroy()
  }

  async close(): Promise<void> {
    this.cable.close()
    this.#socket?.destroy()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }

  /** A serial server has one line, and the last one who came has it. */
  #onConnection(socket: Socket): void {
    socket.on('error', () => socket.destroy())
    if (!this.#isPlugged) {
      socket.destroy()
      return
    }
    this.#socket?.destroy()
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.cable.fromGateway(chunk))
  }
}

export class NetworkStation implements Station {
  readonly cable = undefined
  readonly address = undefined
  readonly device: SimulatedDevice

  constructor(options: DeviceOptions, seed: number) {
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
