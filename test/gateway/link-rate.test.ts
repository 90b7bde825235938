/** Changing the baud rate within a conversation, over a line on which ends of unlike rates hear only noise. */
import t from 'tap'
import { DeviceLink } from '../../firmware-sim/serial-link.ts'
import { SerialLink } from '../../src/gateway/serial-link.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const startRate = 115_200

/** Both ends and the line between them. A byte comes in as sent when both UARTs have the same rate. */
class RatedLine {
  readonly clock = new VirtualClock(1_000_000)
  readonly diary: string[] = []
  readonly received: Buffer[] = []
  readonly times: [number, number][] = []
  hostRate = startRate
  deviceRate = startRate
  /** Rates above are noise. */
  limit = Number.POSITIVE_INFINITY
  readonly host: SerialLink
  readonly device: DeviceLink
  readonly #freeAtMs = { host: 0, device: 0 }
  #noise = new SeededRandom(9)

  constructor(deviceRates: readonly number[], baudRateMax: number | undefined) {
    this.host = new SerialLink(
      'host',
      startRate,
      {
        write: (bytes) => this.#carry(bytes, this.hostRate, 'device'),
        onUp: () => this.diary.push('up'),
        onBytes: (chunk) => this.received.push(Buffer.from(chunk)),
        onDrain: () => {},
        onDown: (reason) => this.diary.push(`down: ${reason}`),
        onLog: () => {},
      },
      this.clock,
      new SeededRandom(1),
      {
        baudRateMax,
        changeRate: (rate) => {
          this.hostRate = rate
          this.diary.push(`host ${rate}`)
        },
        clockQuality: () => 'network',
      },
    )
    this.device = new DeviceLink(
      's1',
      startRate,
      {
        write: (bytes) => this.#carry(bytes, this.deviceRate, 'host'),
        onUp: () => {},
        onBytes: () => {},
        onDown: () => {},
        onTime: (...time) => this.times.push(time),
        changeRate: (rate) => {
          this.deviceRate = rate
          this.diary.push(`device ${rate}`)
        },
      },
      this.clock,
      new SeededRandom(2),
      { wantsTime: true, baudRates: deviceRates },
    )
  }

  start(): this {
    this.host.open()
    this.device.powerOn('power-on')
    return this
  }

  send(byteCount: number): void {
    this.device.send(new SeededRandom(3).bytes(byteCount))
  }

  get receivedByteCount(): number {
    return this.received.reduce((sum, chunk) => sum + chunk.length, 0)
  }

  #carry(bytes: Buffer, rate: number, to: 'host' | 'device'): void {
    const begunAtMs = Math.max(this.clock.nowMs(), this.#freeAtMs[to])
    this.#freeAtMs[to] = begunAtMs + (bytes.length * 10_000) / rate
    this.clock.after(this.#freeAtMs[to] - this.clock.nowMs(), () => {
      const heardRate = to === 'host' ? this.hostRate : this.deviceRate
      const isHeard = rate === heardRate && rate <= this.limit
      this[to].receive(isHeard ? bytes : this.#noise.bytes(bytes.length))
    })
  }
}

t.test('both ends go to the fastest rate that both can, and the stream goes on', async (t) => {
  const line = new RatedLine([250_000, 1_000_000, 3_000_000], 1_000_000).start()
  line.clock.advanceMs(100)
  t.strictSame(line.diary, ['up', 'device 1000000', 'host 1000000'])
  t.equal(line.host.baudRate, 1_000_000)
  line.send(50_000)
  line.clock.advanceMs(1500)
  t.equal(line.receivedByteCount, 50_000, 'more than 115200 baud could carry')
})

t.test('nobody is asked without the setting, or for a rate that is not faster', async (t) => {
  for (const [rates, rateMax] of [
    [[1_000_000], undefined],
    [[9600, 57_600], 1_000_000],
    [[1_000_000], 500_000],
    [[], 1_000_000],
  ] as const) {
    const line = new RatedLine(rates, rateMax).start()
    line.clock.advanceMs(20_000)
    t.strictSame(line.diary, ['up'])
  }
})

t.test('a rate that does not carry is given up by both ends, and not tried again', async (t) => {
  const line = new RatedLine([1_000_000], 1_000_000)
  line.limit = 500_000
  line.start()
  line.clock.advanceMs(400)
  t.equal(line.host.baudRate, 1_000_000, 'on trial')
  line.clock.advanceMs(200)
  t.strictSame(line.diary, ['up', 'device 1000000', 'host 1000000', 'device 115200', 'host 115200'])
  line.send(1000)
  line.clock.advanceMs(10_000)
  t.equal(line.receivedByteCount, 1000)
  line.host.reset()
  line.clock.advanceMs(2000)
  line.host.reset()
  line.clock.advanceMs(10_000)
  t.equal(line.diary.filter((entry) => entry === 'host 1000000').length, 2, 'one more try, then never')
})

t.test('a device that restarts at the first rate is found again within seconds', async (t) => {
  const line = new RatedLine([1_000_000], 1_000_000).start()
  line.clock.advanceMs(5000)
  line.device.powerOff()
  line.deviceRate = startRate
  line.clock.advanceMs(50)
  line.device.powerOn('watchdog')
  line.clock.advanceMs(4500)
  t.strictSame(line.diary.slice(3), ['host 115200', 'down: silence', 'up', 'device 1000000', 'host 1000000'])
})

t.test('a gateway that restarts finds a device that is still at the raised rate', async (t) => {
  const line = new RatedLine([1_000_000], 1_000_000).start()
  line.clock.advanceMs(100)
  line.host.close()
  line.host.open()
  line.clock.advanceMs(5000)
  t.equal(line.host.at, 'open')
  t.strictSame([line.hostRate, line.deviceRate], [1_000_000, 1_000_000])
})

for (const side of ['host', 'device'] as const) {
  t.test(`the ${side} ends a conversation at the raised rate without a wait`, async (t) => {
    const line = new RatedLine([1_000_000], 1_000_000).start()
    line.clock.advanceMs(100)
    line[side].reset()
    line.clock.advanceMs(1200)
    t.equal(line.host.at, 'open')
    t.equal(line.diary.filter((entry) => entry === 'up').length, 2)
    t.strictSame([line.hostRate, line.deviceRate], [1_000_000, 1_000_000])
  })
}

t.test('a device that wants the time is told it at once, and again when it asks', async (t) => {
  const line = new RatedLine([], undefined).start()
  line.clock.advanceMs(1000)
  line.device.askTime()
  line.clock.advanceMs(1000)
  const [told, asked] = line.times as [[number, number], [number, number]]
  t.equal(told[1], 3, 'quality: network')
  t.ok(told[0] > line.clock.wallMs() - 2100 && told[0] <= line.clock.wallMs() - 1900)
  t.ok(asked[0] - told[0] >= 990 && asked[0] - told[0] <= 1010)
})
