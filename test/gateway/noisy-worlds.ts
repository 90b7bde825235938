/** Two small worlds around a bad serial line, in virtual time; a seed decides everything in them. */
import { type DeviceOptions, SimulatedDevice } from '../../firmware-sim/device.ts'
import { type LineFaults, PacedLine } from '../../firmware-sim/paced-line.ts'
import { SerialLink } from '../../src/gateway/serial-link.ts'
import { SerialListener } from '../../src/gateway/serial-listener.ts'
import { MemorySerial } from '../fakes/memory-serial.ts'
import { MqttAcceptor } from '../fakes/mqtt-acceptor.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

export type FaultRates = Omit<LineFaults, 'random'>

export const serialTraits = {
  name: 'serial port',
  mountpoint: undefined,
  requireIdentity: false,
  allowAnonymous: true,
  acceptsGateways: false,
}

/** A simulated device, a line with faults, and the gateway's listener in front of a small MQTT server. */
export class World {
  readonly clock = new VirtualClock(1000)
  readonly acceptor = new MqttAcceptor()
  readonly log = new RecordingLog()
  readonly device: SimulatedDevice
  readonly listener: SerialListener
  readonly delaysMs: number[] = []
  readonly topic = 'd/s1'
  readonly #lines: PacedLine[]
  readonly #seed: number

  constructor(options: Partial<DeviceOptions>, seed: number) {
    this.#seed = seed
    const baudRate = 115_200
    const driver = new MemorySerial(this.clock)
    const up = new PacedLine(baudRate, this.clock, (chunk) => driver.deliver(chunk))
    const down = new PacedLine(baudRate, this.clock, (chunk) => this.device.receive(chunk))
    this.#lines = [up, down]
    driver.onWritten = (bytes) => down.write(bytes)
    driver.plug()
    const settings = { path: 'port', baudRate, resetOnOpen: false }
    const random = new SeededRandom(seed)
    const parts = { driver, acceptor: this.acceptor, clock: this.clock, random, log: this.log }
    this.listener = new SerialListener(settings, serialTraits, parts)
    this.listener.start()
    this.device = new SimulatedDevice(
      { id: 's1', topic: this.topic, baudRate, ratePerSecond: 10, readingCount: Number.POSITIVE_INFINITY, ...options },
      up,
      this.clock,
      new SeededRandom(seed + 1000),
      { onAcknowledged: (_n, delayMs) => this.delaysMs.push(delayMs) },
    )
    this.device.start()
  }

  fault(rates: FaultRates | undefined): void {
    for (const [at, line] of this.#lines.entries()) line.faults = faultsOf(rates, this.#seed * 10 + at)
  }
}

function faultsOf(rates: FaultRates | undefined, seed: number): LineFaults | undefined {
  return rates === undefined ? undefined : { ...rates, random: new SeededRandom(seed) }
}

/** One end of a cable that sends a stream of its own in every conversation, and checks the one it gets. */
class End {
  readonly link: SerialLink
  readonly troubles: string[] = []
  receivedByteCount = 0
  #toSend = streamOf(0, '')
  #toReceive = streamOf(0, '')
  readonly role: 'host' | 'device'

  constructor(role: 'host' | 'device', clock: VirtualClock, random: SeededRandom, write: (bytes: Buffer) => void) {
    this.role = role
    this.link = new SerialLink(
      role,
      115_200,
      {
        write,
        onUp: (peer) => {
          this.#toSend = streamOf(peer.conversation, role)
          this.#toReceive = streamOf(peer.conversation, role === 'host' ? 'device' : 'host')
        },
        onBytes: (chunk) => this.#onBytes(chunk),
        onDrain: () => {},
        onDown: () => {},
        onLog: () => this.troubles.push('a LOG that nobody sent'),
      },
      clock,
      random,
    )
  }

  send(byteCount: number): void {
    if (this.link.at === 'open') this.link.send(Buffer.from(Array.from({ length: byteCount }, () => this.#toSend())))
  }

  #onBytes(chunk: Buffer): void {
    this.receivedByteCount += chunk.length
    for (const byte of chunk) {
      if (byte !== this.#toReceive()) {
        this.troubles.push(`wrong byte after ${this.receivedByteCount}`)
        return
      }
    }
  }
}

/** The bytes of one direction of one conversation. */
function streamOf(conversation: number, sender: string): () => number {
  const random = new SeededRandom(conversation + sender.length)
  return () => random.below(256)
}

/** Two ends of the gateway's kind, one in each role, both talking. */
export class Cable {
  readonly clock = new VirtualClock()
  readonly ends: End[]
  readonly lines: PacedLine[]
  /** Which ends send. */
  talkers = [0, 1]
  readonly #random: SeededRandom
  readonly #seed: number

  constructor(seed: number) {
    this.#seed = seed
    this.#random = new SeededRandom(seed)
    const baudRate = 115_200
    this.lines = [1, 0].map((to) => new PacedLine(baudRate, this.clock, (chunk) => this.ends[to]?.link.receive(chunk)))
    this.ends = (['host', 'device'] as const).map(
      (role, at) =>
        new End(role, this.clock, new SeededRandom(seed * 100 + at), (bytes) => this.lines[at]?.write(bytes)),
    )
    for (const end of this.ends) end.link.open()
  }

  /** Both ends send as much as the line takes, in pieces of any size. */
  run(durationMs: number): void {
    const untilMs = this.clock.nowMs() + durationMs
    while (this.clock.nowMs() < untilMs) {
      for (const at of this.talkers) {
        const end = this.ends[at]
        if (end !== undefined && end.link.bufferedByteCount < 4000) end.send(1 + this.#random.below(1000))
      }
      this.clock.advanceMs(this.#random.below(20))
    }
  }

  fault(rates: FaultRates | undefined): void {
    for (const [at, line] of this.lines.entries()) line.faults = faultsOf(rates, this.#seed * 10 + at)
  }

  /** Both ends are in a conversation, the same one, and everything sent in it has arrived. */
  get isSettled(): boolean {
    return this.ends.every(({ link }) => link.at === 'open' && link.bufferedByteCount === 0)
  }

  close(): void {
    for (const { link } of this.ends) link.close()
    for (const line of this.lines) line.clear()
  }
}
