/** The gateway's listener on a port in memory, with a simulated device at the other end, in virtual time. */
import { type DeviceOptions, SimulatedDevice } from '../../firmware-sim/device.ts'
import { PacedLine } from '../../firmware-sim/paced-line.ts'
import { SerialListener } from '../../src/gateway/serial-listener.ts'
import { MemorySerial } from '../fakes/memory-serial.ts'
import { MqttAcceptor } from '../fakes/mqtt-acceptor.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'
import { serialTraits } from './noisy-worlds.ts'

/** A clean line; the device runs whether or not it is plugged in. */
export class Port {
  readonly clock = new VirtualClock()
  readonly driver = new MemorySerial(this.clock)
  readonly acceptor = new MqttAcceptor()
  readonly log = new RecordingLog()
  readonly listener: SerialListener
  readonly device: SimulatedDevice
  toDevice = (chunk: Buffer): void => this.device.receive(chunk)
  readonly #lines: PacedLine[]

  constructor(options: Partial<DeviceOptions> = {}) {
    const baudRate = 115_200
    const up = new PacedLine(baudRate, this.clock, (chunk) => this.driver.deliver(chunk))
    const down = new PacedLine(baudRate, this.clock, (chunk) => this.toDevice(chunk))
    this.#lines = [up, down]
    this.driver.onWritten = (bytes) => down.write(bytes)
    this.listener = new SerialListener({ path: '/dev/ttyTest', baudRate, resetOnOpen: false }, serialTraits, {
      driver: this.driver,
      acceptor: this.acceptor,
      clock: this.clock,
      random: new SeededRandom(1),
      log: this.log,
    })
    this.device = new SimulatedDevice(
      { id: 's1', baudRate, ratePerSecond: 10, readingCount: Number.POSITIVE_INFINITY, ...options },
      up,
      this.clock,
      new SeededRandom(2),
    )
    this.device.start()
  }

  plug(): void {
    this.driver.plug()
    for (const line of this.#lines) line.isConnected = true
  }

  unplug(): void {
    for (const line of this.#lines) line.isConnected = false
    this.driver.unplug()
  }

  clear(): void {
    for (const line of this.#lines) line.clear()
  }

  /** Without what the device says. */
  lines(): string[] {
    return this.log.lines.filter(({ level }) => level !== 'debug').map(({ level, message }) => `${level} ${message}`)
  }
}

/** Plugged in, started, and past the CONNACK. */
export function connectedPort(): Port {
  const port = new Port()
  port.plug()
  port.listener.start()
  port.clock.advanceUntil(() => port.device.isConnected, 3000)
  return port
}
