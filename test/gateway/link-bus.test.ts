/** Several devices on one pair of wires, in virtual time: nobody speaks out of turn, and nobody waits for who is away. */
import t from 'tap'
import { type DeviceOptions, SimulatedDevice } from '../../firmware-sim/device.ts'
import { fromWire, Type } from '../../firmware-sim/link-codec.ts'
import { PacedLine } from '../../firmware-sim/paced-line.ts'
import { SerialListener } from '../../src/gateway/serial-listener.ts'
import { MemorySerial } from '../fakes/memory-serial.ts'
import { MqttAcceptor } from '../fakes/mqtt-acceptor.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'
import { serialTraits } from './noisy-worlds.ts'

const addresses = [1, 2, 3]

/** Two wires: what one says, all others hear, and with `isEchoing` the speaker too. */
class Bus {
  readonly clock = new VirtualClock(1000)
  readonly acceptor = new MqttAcceptor()
  readonly log = new RecordingLog()
  readonly devices: SimulatedDevice[] = []
  readonly lines: PacedLine[] = []
  readonly listener: SerialListener
  isEchoing = false
  /** Times that somebody began to speak while another one spoke. */
  collisionCount = 0
  readonly #driver = new MemorySerial(this.clock)
  readonly #baudRate: number

  constructor(baudRate: number, options: Partial<DeviceOptions> = {}) {
    this.#baudRate = baudRate
    const gatewayLine = this.#speaker((chunk) => {
      for (const device of this.devices) device.receive(chunk)
      if (this.isEchoing) this.#driver.deliver(chunk)
    })
    this.#driver.onWritten = (bytes) => this.#say(gatewayLine, bytes)
    this.#driver.plug()
    for (const address of addresses) {
      const line = this.#speaker((chunk) => {
        this.#driver.deliver(chunk)
        for (const device of this.devices) if (this.isEchoing || device !== own) device.receive(chunk)
      })
      const own: SimulatedDevice = new SimulatedDevice(
        { id: `s${address}`, address, baudRate, ratePerSecond: 5, readingCount: 100, frameBytes: 96, ...options },
        { write: (bytes) => this.#say(line, bytes), clear: () => line.clear() },
        this.clock,
        new SeededRandom(address),
      )
      this.devices.push(own)
    }
    this.listener = new SerialListener({ path: '/dev/ttyBus', baudRate, resetOnOpen: false, addresses }, serialTraits, {
      driver: this.#driver,
      acceptor: this.acceptor,
      clock: this.clock,
      random: new SeededRandom(9),
      log: this.log,
    })
    this.listener.start()
  }

  start(): void {
    for (const device of this.devices) device.start()
    // What a boot loader says, it says out of turn.
    this.clock.advanceMs(100)
    this.collisionCount = 0
  }

  run(ms: number): void {
    for (let passedMs = 0; passedMs < ms && !this.devices.every((device) => device.isDone); passedMs += 100) {
      this.clock.advanceMs(100)
    }
  }

  #speaker(deliver: (chunk: Buffer) => void): PacedLine {
    const line = new PacedLine(this.#baudRate, this.clock, deliver)
    this.lines.push(line)
    return line
  }

  #say(line: PacedLine, bytes: Buffer): void {
    if (this.lines.some((other) => other !== line && other.bufferedByteCount > 0)) this.collisionCount++
    line.write(bytes)
  }
}

for (const [baudRate, isEchoing] of [
  [115_200, false],
  [9600, false],
  [19_200, true],
] as const) {
  t.test(`three devices share a bus of ${baudRate} baud${isEchoing ? ' that echoes' : ''}`, async (t) => {
    const bus = new Bus(baudRate, { ratePerSecond: baudRate < 19_200 ? 1 : 5 })
    bus.isEchoing = isEchoing
    bus.start()
    bus.run(200_000)
    for (const address of addresses) {
      t.equal(bus.acceptor.distinctCount(`s${address}`), 100, `s${address}`)
      t.equal(bus.acceptor.readings.get(`s${address}`)?.length, 100, 'none twice')
    }
    t.equal(bus.collisionCount, 0, 'nobody spoke out of turn')
    t.equal(bus.acceptor.connections.length, 3)
    t.match(bus.acceptor.connections[0]?.link.remote, /^\/dev\/ttyBus address \d$/)
    t.match(bus.listener.told, { availability: 'online', deviceId: '1:s1 2:s2 3:s3' })
    t.comment(`round trips ${bus.listener.told.roundTripP50Ms} / ${bus.listener.told.roundTripP99Ms} ms`)
  })
}

t.test('on a noisy bus nothing is lost or doubled', async (t) => {
  const bus = new Bus(115_200)
  bus.start()
  bus.clock.advanceMs(1000)
  for (const [at, line] of bus.lines.entries()) {
    line.faults = { random: new SeededRandom(at), bitErrorRate: 3e-4, dropRate: 1e-4 }
  }
  bus.run(600_000)
  for (const { head, acknowledged } of bus.devices) {
    t.equal(acknowledged.size, 100)
    t.ok(head.isAcknowledged)
  }
  for (const address of addresses) {
    const readings = bus.acceptor.readings.get(`s${address}`) ?? []
    t.equal(new Set(readings).size, 100)
    t.equal(readings.length, 100, 'none twice')
  }
  const { crcErrorCount, cobsErrorCount, retransmitCount } = bus.listener.counters
  t.ok(crcErrorCount + cobsErrorCount > 10 && retransmitCount > 0, `${crcErrorCount + cobsErrorCount} damaged frames`)
})

t.test('a device that goes away loses its connection, and the others go on', async (t) => {
  const bus = new Bus(115_200)
  bus.start()
  bus.run(3000)
  const [, second] = bus.devices
  second?.stop()
  const before = bus.acceptor.distinctCount('s1')
  bus.clock.advanceMs(12_000)
  t.ok(bus.acceptor.distinctCount('s1') >= before + 55, 'five readings a second, as before')
  t.equal(bus.acceptor.openCount, 2)
  t.match(bus.listener.told, { availability: 'online', deviceId: '1:s1 3:s3' })
  second?.start()
  bus.run(60_000)
  t.equal(bus.acceptor.distinctCount('s2'), 100)
})

t.test('a frame without an address, or for another one, is for nobody', async (t) => {
  const bus = new Bus(115_200)
  const heard: number[] = []
  const { receive } = bus.devices[0] as SimulatedDevice
  t.equal(typeof receive, 'function')
  const alone = new SimulatedDevice(
    { id: 'alone', baudRate: 115_200, ratePerSecond: 1, readingCount: 1 },
    {
      write: (bytes) => {
        for (const part of bytes.toString('latin1').split('\0')) {
          const frame = part === '' ? undefined : fromWire(Buffer.from(part, 'latin1'))
          if (frame !== undefined) heard.push(frame.type)
        }
      },
      clear: () => undefined,
    },
    bus.clock,
    new SeededRandom(5),
  )
  bus.devices.push(alone)
  alone.start()
  bus.clock.advanceMs(10_000)
  t.notOk(alone.isConnected)
  t.ok(
    heard.every((type) => type === Type.rst || type === Type.log),
    'it only asks, on a line that is not for it',
  )
})
