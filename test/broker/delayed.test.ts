/** `$delayed/{N}/{topic}`: what is taken, when it is published, and that nothing but time passing counts. */
import t from 'tap'
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { delayMsOf, mountTopic, parseDelayed } from '../../src/broker/delayed-topic.ts'
import type { BrokerSettings } from '../../src/broker/settings.ts'
import { type Ack, type Connect, PacketType, type Qos, type Will } from '../../src/protocol/packet.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const durable = (clientId: string): Connect & { clientId: string } =>
  ({ clientId, version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } }) as Connect

async function start(disk = new MemoryDisk(), nowMs = 0, settings: Partial<BrokerSettings> = {}): Promise<TestBroker> {
  const clock = new VirtualClock(nowMs)
  const store = new MemoryStore({ clock, random: new SeededRandom(2), disk })
  return TestBroker.start({ clock, store, settings })
}

function subscriber(broker: TestBroker, topicFilter = '#', qos: Qos = 2): TestClient {
  const client = broker.connect({ clientId: `s ${topicFilter}`, version: 5 })
  client.subscribe(topicFilter, { qos })
  return client
}

function publish(client: TestClient, topic: string, qos: Qos = 1): ReasonCode | undefined {
  client.publish(topic, topic, { qos, packetId: qos === 0 ? 0 : 5 })
  const type = qos === 2 ? PacketType.pubrec : PacketType.puback
  const ack = client.take(type) as Ack | undefined
  if (qos === 2) client.send({ type: PacketType.pubrel, packetId: 5, reasonCode: 0, properties: undefined })
  return ack?.reasonCode
}

t.test('the topic of a delayed message', async (t) => {
  t.strictSame(parseDelayed('$delayed/60/a/b'), { head: '$delayed/60/', interval: '60', topic: 'a/b' })
  t.equal(parseDelayed('delayed/60/a'), undefined)
  t.equal(mountTopic('g/x/', '$delayed/60/a/b'), '$delayed/60/g/x/a/b')
  t.equal(mountTopic('g/x/', 'a/b'), 'g/x/a/b')
  t.equal(mountTopic('g/x/', '$delayed/60/'), '$delayed/60/')
  const now = 1_800_000_000
  for (const [interval, seconds] of [
    ['0', 0],
    ['-5', 0],
    ['60', 60],
    ['42949669', 42_949_669],
    [`${now + 90}`, 90],
    [`${now - 90}`, 0],
    ['42949670', undefined],
    [`${now + 42_949_671}`, undefined],
    ['', undefined],
    ['1.5', undefined],
    ['0x10', undefined],
    ['sixty', undefined],
  ] as const) {
    t.equal(delayMsOf(interval, now * 1000), seconds === undefined ? undefined : seconds * 1000, interval)
  }
})

t.test('a message of any QoS is published after its delay, to who is subscribed then', async (t) => {
  const broker = await start()
  const early = subscriber(broker)
  const publisher = broker.connect({ clientId: 'p', version: 5 })
  for (const qos of [0, 1, 2] as const) {
    t.equal(publish(publisher, `$delayed/60/a/${qos}`, qos), qos === 0 ? undefined : ReasonCode.success)
  }
  publisher.disconnect()
  broker.passMs(59_000)
  t.strictSame(early.takePayloads(), [])
  const late = subscriber(broker, 'a/+')
  broker.passMs(1500)
  for (const client of [early, late]) {
    const got = [client.takePublish(), client.takePublish(), client.takePublish()]
    t.strictSame(
      got.map(({ topic, qos }) => [topic, qos]),
      [
        ['a/0', 0],
        ['a/1', 1],
        ['a/2', 2],
      ],
    )
  }
})

t.test(
  'messages that are due come in the order of their times, those of one time as they were published',
  async (t) => {
    const broker = await start()
    const client = subscriber(broker)
    const publisher = broker.connect({ clientId: 'p', version: 5 })
    for (const topic of ['3/a', '1/b', '2/c', '1/d', '3/e', '0/f', '-1/g']) publish(publisher, `$delayed/${topic}`)
    broker.passMs(5000)
    const topics: string[] = []
    for (let i = 0; i < 7; i++) topics.push(client.takePublish().topic)
    t.strictSame(topics, ['f', 'g', 'b', 'd', 'c', 'a', 'e'])
  },
)

t.test('it is retained, and expires, like one that was published then and came before', async (t) => {
  const broker = await start()
  const publisher = broker.connect({ clientId: 'p', version: 5 })
  publisher.publish('$delayed/10/kept', 'x', { qos: 1, packetId: 1, retain: true })
  publisher.publish('$delayed/10/gone', 'x', {
    qos: 1,
    packetId: 2,
    retain: true,
    properties: { messageExpiryInterval: 5 },
  })
  t.strictSame(subscriber(broker, '+').takePayloads(), [])
  broker.passMs(11_000)
  const message = subscriber(broker).takePublish()
  t.strictSame([message.topic, message.retain], ['kept', true])
  t.equal(broker.broker.counters.dropped.expired, 1)
})

t.test('what is malformed is refused with 0x90, what may not be published with 0x87', async (t) => {
  const broker = await start()
  const everything = subscriber(broker)
  const publisher = broker.connect({ clientId: 'p', version: 5 })
  for (const topic of ['$delayed/x/a', '$delayed/5', '$delayed/5/', '$delayed/5/$delayed/5/a', '$delayed/42949670/a']) {
    const expected = topic.includes('$delayed/5/$') ? ReasonCode.notAuthorized : ReasonCode.topicNameInvalid
    t.equal(publish(publisher, topic), expected, topic)
    t.equal(publish(publisher, topic, 2), expected, topic)
  }
  t.equal(publish(publisher, '$delayed/5/$SYS/x'), ReasonCode.notAuthorized)
  broker.passMs(10_000)
  t.strictSame(everything.takePayloads(), [])
  t.equal(broker.broker.counters.dropped.delayedRefused, 8)
})

t.test('there is a limit for one client and one for all; beyond it the answer is 0x97', async (t) => {
  const broker = await start(undefined, 0, { delayLimits: { countMax: 8, countMaxPerClient: 5, bytesMax: 1000 } })
  const [one, two] = ['one', 'two'].map((clientId) => broker.connect({ clientId, version: 5 })) as [
    TestClient,
    TestClient,
  ]
  for (let i = 0; i < 5; i++) t.equal(publish(one, '$delayed/9/a'), ReasonCode.success)
  t.equal(publish(one, '$delayed/9/a'), ReasonCode.quotaExceeded)
  for (let i = 0; i < 3; i++) t.equal(publish(two, '$delayed/9/a'), ReasonCode.success)
  t.equal(publish(two, '$delayed/9/a'), ReasonCode.quotaExceeded)
  t.equal(broker.broker.counters.dropped.delayedRefused, 2)
  t.equal(broker.broker.counters.delayedCount, 8)
  broker.passMs(10_000)
  t.equal(broker.broker.counters.delayedCount, 0)
  t.equal(publish(one, '$delayed/9/a'), ReasonCode.success, 'there is room again')
})

t.test('one that was cancelled is not published', async (t) => {
  const broker = await start()
  const client = subscriber(broker)
  const publisher = broker.connect({ clientId: 'p', version: 5 })
  for (const topic of ['a', 'b', 'c']) publish(publisher, `$delayed/10/${topic}`)
  broker.passMs(1000)
  const [, second] = broker.broker.delays.list(10)
  t.match(second, { topic: 'b', qos: 1, retain: false, clientId: 'p', payloadByteCount: 13, remainingSeconds: 9 })
  t.equal(broker.broker.delays.cancel(second?.id ?? 0), true)
  t.equal(broker.broker.delays.cancel(second?.id ?? 0), false)
  broker.passMs(10_000)
  t.strictSame([client.takePublish().topic, client.takePublish().topic], ['a', 'c'])
})

t.test('restarts and the wall clock change nothing; what fell due meanwhile is published once', async (t) => {
  const disk = new MemoryDisk()
  let broker = await start(disk)
  const away = broker.connect(durable('away'))
  away.subscribe('#', { qos: 1 })
  away.drop()
  const publisher = broker.connect({ clientId: 'p', version: 5 })
  for (const seconds of [10, 20, 30]) publish(publisher, `$delayed/${seconds}/after ${seconds}`)
  broker.passMs(12_000)
  // The process ends, and begins again nine seconds later with a wall clock of fifty years on.
  broker = await start(disk, broker.clock.nowMs() + 9000)
  broker.clock.wallOffsetMs = 50 * 365 * 86_400_000
  broker.passMs(200)
  broker = await start(disk, broker.clock.nowMs())
  const client = broker.connect(durable('away'))
  t.strictSame(client.takePayloads(), ['$delayed/10/after 10', '$delayed/20/after 20'])
  broker.passMs(8000)
  t.strictSame(client.takePayloads(), [])
  broker.passMs(1500)
  t.strictSame(client.takePayloads(), ['$delayed/30/after 30'])
})

t.test('a will may be delayed too, below a mountpoint like any message', async (t) => {
  const broker = await start()
  const client = subscriber(broker)
  const will = { topic: '$delayed/10/dead', payload: Buffer.from('x'), qos: 1, retain: false, properties: undefined }
  const device = broker.connect(
    { clientId: 'gw', version: 5, will: will as unknown as Will },
    { mountpoint: 'g/{identity}/', identity: 'gw' },
  )
  publish(device, '$delayed/5/alive')
  device.drop()
  broker.passMs(9000)
  t.equal(client.takePublish().topic, 'g/gw/alive')
  t.strictSame(client.takePayloads(), [])
  broker.passMs(2000)
  t.equal(client.takePublish().topic, 'g/gw/dead')
})
