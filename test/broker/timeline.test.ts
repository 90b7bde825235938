/** What counts time counts time that passes: a wall clock that jumps by fifty years and restarts change nothing. */
import t from 'tap'
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { type Connack, type Connect, PacketType, type Will } from '../../src/protocol/packet.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const fiftyYearsMs = 50 * 365 * 86_400_000

/** A broker that is killed and started again, each time with a wall clock that is fifty years off, there or back. */
class Lives {
  readonly #disk = new MemoryDisk()
  #wallOffsetMs = Date.UTC(2026, 0, 1)
  broker!: TestBroker

  async begin(): Promise<void> {
    const nowMs = this.broker?.clock.nowMs() ?? 0
    const clock = new VirtualClock(nowMs)
    clock.wallOffsetMs = this.#wallOffsetMs
    const store = new MemoryStore({ clock, random: new SeededRandom(2), disk: this.#disk })
    this.broker = await TestBroker.start({ clock, store })
  }

  async jump(): Promise<void> {
    this.#wallOffsetMs += this.#wallOffsetMs < fiftyYearsMs ? fiftyYearsMs : -2 * fiftyYearsMs
    this.broker.clock.wallOffsetMs = this.#wallOffsetMs
    this.broker.passMs(100)
    await this.begin()
  }
}

const durable = (clientId: string, seconds: number): Connect & { clientId: string } =>
  ({ clientId, version: 5, cleanStart: false, properties: { sessionExpiryInterval: seconds } }) as Connect

t.test('wills, sessions, queued and retained messages keep their time over jumps and restarts', async (t) => {
  const lives = new Lives()
  await lives.begin()
  const { broker } = lives
  const will = {
    topic: 'dead',
    payload: Buffer.from('dead'),
    qos: 1,
    retain: false,
    properties: { willDelayInterval: 40 },
  } as unknown as Will
  const watcher = broker.connect(durable('watcher', 3600))
  watcher.subscribe('#', { qos: 1 })
  watcher.drop()
  broker.connect({ ...durable('device', 600), will }).drop()
  for (const [clientId, seconds] of [
    ['short', 30],
    ['long', 120],
  ] as const) {
    const client = broker.connect(durable(clientId, seconds))
    client.subscribe('nothing', { qos: 1 })
    client.drop()
  }
  const publisher = broker.connect({ clientId: 'p', version: 5 })
  for (const seconds of [20, 200]) {
    const properties = { messageExpiryInterval: seconds }
    publisher.publish(`queued/${seconds}`, `queued ${seconds}`, { qos: 1, packetId: 1, properties })
    publisher.publish(`kept/${seconds}`, `kept ${seconds}`, { qos: 0, retain: true, properties })
  }
  broker.passMs(1000)

  for (let passedSeconds = 1; passedSeconds < 50; passedSeconds += 10) {
    await lives.jump()
    lives.broker.passMs(9900)
    const isWillDue = passedSeconds + 10 > 40
    t.equal(lives.broker.broker.counters.willsPublished, isWillDue && passedSeconds <= 40 ? 1 : 0, `${passedSeconds} s`)
  }

  const late = lives.broker
  const isPresent = (clientId: string, seconds: number): boolean =>
    (late.open().connect(durable(clientId, seconds)) as Connack).sessionPresent
  t.equal(isPresent('short', 30), false, 'a session of 30 s ended')
  t.equal(isPresent('long', 120), true, 'one of 120 s did not')
  const again = late.connect(durable('watcher', 3600))
  const packets = again.takeAll().filter((packet) => packet.type === PacketType.publish)
  t.strictSame(
    packets.map((packet) => ('topic' in packet ? packet.topic : '')).sort(),
    ['dead', 'queued/200'],
    'a message of 20 s expired while it was queued',
  )
  for (const packet of packets) {
    if (!('topic' in packet) || packet.topic !== 'queued/200') continue
    t.equal(packet.properties?.messageExpiryInterval, 149, 'and is told what is left [MQTT-3.3.2-6]')
  }
  const reader = late.connect({ clientId: 'reader', version: 5 })
  reader.subscribe('kept/#', { qos: 0 })
  const retained = reader.takePublish()
  t.strictSame([retained.topic, retained.properties?.messageExpiryInterval], ['kept/200', 149])
  t.strictSame(reader.takePayloads(), [], 'a retained message of 20 s expired')
})
