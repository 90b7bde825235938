/** Retained messages: what is kept, who gets it, and that thousands of them come in slices that nobody else waits for. */
import t from 'tap'
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { encodePacket } from '../../src/protocol/encode.ts'
import { OutputBuffer } from '../../src/protocol/output.ts'
import { PacketType, type Qos, type SubscriptionRequest } from '../../src/protocol/packet.ts'
import { encodePublish, Publish } from '../../src/protocol/packets/publish.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const settings = { retainedCountMax: 5000, retainedBytesMax: 1_000_000 }

async function brokerWith(count: number, more: object = {}): Promise<{ broker: TestBroker; publisher: TestClient }> {
  const broker = await TestBroker.start({ settings: { ...settings, ...more } })
  const publisher = broker.connect({ clientId: 'p' })
  for (let i = 0; i < count; i++) publisher.publish(topicOf(i), 'old', { retain: true })
  return { broker, publisher }
}

function topicOf(i: number): string {
  return `t/${i % 7}/${i}`
}

function messageBytes(topic: string, payload: string, retain = false): Buffer {
  const output = new OutputBuffer()
  encodePublish(output, Publish.create({ topic, payload }), 4, 0, retain, false, 0, undefined, 1_000_000)
  return Buffer.concat(output.take())
}

/** Without the end of the turn that TestClient adds. */
function subscribeOnly(client: TestClient, topicFilter: string, qos: Qos = 0): void {
  const output = new OutputBuffer()
  const request: SubscriptionRequest = { topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }
  const packet = { type: PacketType.subscribe, packetId: 1, subscriptions: [request], properties: undefined } as const
  encodePacket(output, packet, client.version)
  client.link.deliver(Buffer.concat(output.take()))
}

function publishesOf(client: TestClient): Publish[] {
  return client.takeAll().filter((packet) => packet instanceof Publish)
}

t.test('retained messages: kept, replaced, cleared by an empty payload [MQTT-3.3.1-6] [MQTT-3.3.1-7]', async (t) => {
  const broker = await TestBroker.start()
  const publisher = broker.connect({ clientId: 'p' })
  publisher.publish('a/b', '1', { retain: true })
  publisher.publish('a/b', '2', { retain: true, qos: 1 })
  publisher.publish('$SYS/x', 'refused', { retain: true })
  const subscriber = broker.connect({ clientId: 's' })
  subscriber.subscribe('#', { qos: 1 })
  const message = subscriber.takePublish()
  t.equal(message.payload.toString(), '2')
  t.equal(message.retain, true, 'the flag is set for a new subscription [MQTT3-3.3.1-8]')
  t.same(subscriber.takePayloads(), [])
  publisher.publish('a/b', '', { retain: true })
  t.equal(subscriber.takePublish().payloadByteCount, 0, 'those who are there hear of it')
  const late = broker.connect({ clientId: 'late' })
  late.subscribe('a/+')
  t.same(late.takePayloads(), [])
})

t.test('retain handling 0, 1 and 2 [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]', async (t) => {
  const broker = await TestBroker.start()
  broker.connect({ clientId: 'p' }).publish('a', 'r', { retain: true })
  const client = broker.connect({ clientId: 'c', version: 5 })
  const retainedAfter = (retainHandling: 0 | 1 | 2) => {
    client.subscribe('a', { retainHandling })
    return client.takePayloads().length
  }
  t.equal(retainedAfter(2), 0)
  t.equal(retainedAfter(1), 0, 'the subscription was there already')
  t.equal(retainedAfter(0), 1)
  client.send({ type: PacketType.unsubscribe, packetId: 9, topicFilters: ['a'], properties: undefined })
  t.equal(retainedAfter(1), 1, 'now it is new')
})

t.test(
  'Retain As Published keeps the flag [MQTT-3.3.1-13], without it the flag is cleared [MQTT-3.3.1-12]',
  async (t) => {
    const broker = await TestBroker.start()
    const kept = broker.connect({ clientId: 'kept', version: 5 })
    kept.subscribe('a', { retainAsPublished: true })
    const cleared = broker.connect({ clientId: 'cleared', version: 5 })
    cleared.subscribe('a')
    broker.connect({ clientId: 'p' }).publish('a', 'x', { retain: true })
    t.equal(kept.takePublish().retain, true)
    t.equal(cleared.takePublish().retain, false)
  },
)

t.test('retained messages are bounded in number and bytes', async (t) => {
  const broker = await TestBroker.start({ settings: { retainedCountMax: 2, retainedBytesMax: 10 } })
  const publisher = broker.connect({ clientId: 'p' })
  publisher.publish('a', '12345', { retain: true })
  publisher.publish('b', '1234567', { retain: true })
  publisher.publish('b', '12', { retain: true })
  publisher.publish('c', '1', { retain: true })
  publisher.publish('a', '54321', { retain: true })
  t.equal(broker.broker.counters.retainedRefused, 2)
  const subscriber = broker.connect({ clientId: 's' })
  subscriber.subscribe('#')
  t.same(subscriber.takePayloads().sort(), ['12', '54321'])
})

t.test('retained messages survive a restart', async (t) => {
  const clock = new VirtualClock()
  const disk = new MemoryDisk()
  const start = () => TestBroker.start({ clock, store: new MemoryStore({ clock, random: new SeededRandom(2), disk }) })
  const before = await start()
  const publisher = before.connect({ clientId: 'p' })
  publisher.publish('a', 'kept', { retain: true })
  publisher.publish('b', 'gone', { retain: true })
  publisher.publish('b', '', { retain: true })
  const after = await start()
  const subscriber = after.connect({ clientId: 's' })
  subscriber.subscribe('#')
  t.same(subscriber.takePayloads(), ['kept'])
})

t.test('a subscriber of # gets each retained message once, and live ones in between', async (t) => {
  const { broker, publisher } = await brokerWith(3000)
  const subscriber = broker.connect({ clientId: 's' })
  subscribeOnly(subscriber, '#')
  broker.clock.afterTurn(() => publisher.link.deliver(messageBytes('live', 'now')))
  broker.settle()
  const got = publishesOf(subscriber)
  const topics = new Set(got.map((publish) => publish.topic))
  t.equal(got.length, 3001)
  t.equal(topics.size, 3001)
  const liveAt = got.findIndex((publish) => publish.topic === 'live')
  t.ok(liveAt > 0 && liveAt < 1500, `the live message was number ${liveAt}`)
  t.notOk(got[liveAt]?.retain)
  t.ok(got[liveAt + 1]?.retain)
})

t.test('a topic that changes meanwhile comes once, with its new value', async (t) => {
  const { broker, publisher } = await brokerWith(3000)
  const subscriber = broker.connect({ clientId: 's' })
  subscribeOnly(subscriber, 't/#')
  broker.clock.afterTurn(() => {
    for (let i = 0; i < 3000; i += 10) publisher.link.deliver(messageBytes(topicOf(i), 'new', true))
    publisher.link.deliver(messageBytes(topicOf(2999), '', true))
  })
  broker.settle()
  const values = new Map<string, string[]>()
  for (const { topic, payload } of publishesOf(subscriber)) {
    values.set(topic, [...(values.get(topic) ?? []), payload.toString()])
  }
  let passedOverCount = 0
  for (let i = 0; i < 2999; i++) {
    const [first, second] = values.get(topicOf(i)) ?? []
    if (i % 10 > 0) t.equal(first, 'old')
    else if (first === 'new') {
      t.equal(second, undefined, 'the old value does not follow the new one')
      passedOverCount++
    } else t.equal(second, 'new')
  }
  t.ok(passedOverCount > 100, `${passedOverCount} changed before their turn`)
})

t.test('with QoS 1 half of the window is left for live messages, and nothing is dropped', async (t) => {
  const { broker, publisher } = await brokerWith(300)
  for (let i = 0; i < 300; i++) publisher.publish(topicOf(i), 'old', { retain: true, qos: 1, packetId: 5 })
  const subscriber = broker.connect({ clientId: 's' })
  subscriber.subscribe('#', { qos: 1 })
  let inFlight = publishesOf(subscriber)
  t.equal(inFlight.length, 4, 'half of inflightMax')
  publisher.publish('live', 'now', { qos: 1, packetId: 6 })
  const live = subscriber.takePublish()
  t.equal(live.topic, 'live')
  subscriber.puback(live.packetId)
  const topics = new Set<string>()
  while (inFlight.length > 0) {
    t.ok(inFlight.length <= 4)
    const [next, ...rest] = inFlight
    topics.add(next?.topic as string)
    subscriber.puback(next?.packetId as number)
    inFlight = [...rest, ...publishesOf(subscriber)]
  }
  t.equal(topics.size, 300)
  t.equal(broker.broker.counters.droppedMessages, 0)
})

t.test('a client that does not read gets the rest when it does, and costs no memory meanwhile', async (t) => {
  const { broker } = await brokerWith(3000, { outputBytesMax: 2000 })
  const subscriber = broker.connect({ clientId: 's' })
  subscriber.link.isStuck = true
  subscriber.subscribe('#')
  broker.passMs(5000)
  t.ok(subscriber.link.bufferedByteCount < 8000, `${subscriber.link.bufferedByteCount} bytes wait`)
  subscriber.link.unstick()
  broker.passMs(20_000)
  t.equal(publishesOf(subscriber).length, 3000)
  t.equal(broker.broker.counters.droppedMessages, 0)
})

t.test('a rate that all new subscriptions share: nobody is passed over for long, and nothing is dropped', async (t) => {
  const { broker } = await brokerWith(1000, { retainedMessagesPerSecondMax: 100, retainedCountMax: 1000 })
  const clients = ['a', 'b', 'c'].map((clientId) => broker.connect({ clientId }))
  for (const client of clients) client.subscribe('#')
  const counts = clients.map(() => 0)
  const collect = () => {
    for (const [index, client] of clients.entries()) counts[index] = (counts[index] ?? 0) + client.takePayloads().length
    return counts.reduce((sum, count) => sum + count)
  }
  for (let second = 0; second < 10; second++) {
    const total = collect()
    t.ok(Math.abs(total - 100 * (second + 1)) <= 20, `${total} after ${second} s`)
    broker.passMs(1000)
  }
  t.ok(Math.min(...counts) > 200, `${counts} of 1000`)
  broker.passMs(30_000)
  collect()
  t.strictSame(counts, [1000, 1000, 1000])
})

t.test('a session that is kept goes on where it was, one that unsubscribes gets no more', async (t) => {
  const { broker, publisher } = await brokerWith(0)
  for (let i = 0; i < 100; i++) publisher.publish(topicOf(i), 'old', { retain: true, qos: 1, packetId: 5 })
  const away = broker.connect({ clientId: 's', cleanStart: false })
  away.subscribe('#', { qos: 1 })
  const seen = new Set(publishesOf(away).map(({ topic }) => topic))
  away.drop()
  const back = broker.connect({ clientId: 's', cleanStart: false })
  for (let inFlight = publishesOf(back); inFlight.length > 0; inFlight = publishesOf(back)) {
    for (const { topic, packetId } of inFlight) {
      seen.add(topic)
      back.puback(packetId)
    }
  }
  t.equal(seen.size, 100)
  const other = broker.connect({ clientId: 'o' })
  other.subscribe('#', { qos: 1 })
  const [first] = publishesOf(other)
  other.send({ type: PacketType.unsubscribe, packetId: 2, topicFilters: ['#'], properties: undefined })
  other.takeAll()
  other.puback(first?.packetId as number)
  broker.passMs(1000)
  t.same(publishesOf(other), [])
})

t.test('a payload that is too large is delivered and not retained', async (t) => {
  const { broker, publisher } = await brokerWith(0, { retainedPayloadBytesMax: 10 })
  const subscriber = broker.connect({ clientId: 's' })
  subscriber.subscribe('#')
  publisher.publish('a', 'x'.repeat(10), { retain: true })
  publisher.publish('a', 'x'.repeat(11), { retain: true })
  t.equal(subscriber.takePayloads().length, 2)
  t.equal(broker.broker.counters.retainedRefused, 1)
  const late = broker.connect({ clientId: 'l' })
  late.subscribe('#')
  t.strictSame(late.takePayloads(), ['x'.repeat(10)])
})

t.test('retained messages come behind SUBACK, also when that has to wait for a commit', async (t) => {
  const { broker } = await brokerWith(3)
  for (const properties of [undefined, { sessionExpiryInterval: 60 }]) {
    const client = broker.connect({ clientId: 'c', version: 5, properties })
    client.subscribe('#')
    const packetId = 7
    const request: SubscriptionRequest = {
      topicFilter: 't/#',
      qos: 1,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0,
    }
    client.takeAll()
    client.send({ type: PacketType.subscribe, packetId, subscriptions: [request], properties: undefined })
    t.same(
      client.takeAll().map(({ type }) => type),
      [PacketType.suback, PacketType.publish, PacketType.publish, PacketType.publish],
    )
  }
})

t.test('a subscription that is given back gets nothing that was retained once UNSUBACK is out', async (t) => {
  const { broker } = await brokerWith(1000)
  const client = broker.connect({ clientId: 'c', version: 5, properties: { sessionExpiryInterval: 60 } })
  subscribeOnly(client, 't/#')
  const output = new OutputBuffer()
  encodePacket(output, { type: PacketType.unsubscribe, packetId: 2, topicFilters: ['t/#'], properties: undefined }, 5)
  client.link.deliver(Buffer.concat(output.take()))
  broker.settle()
  const types = client.takeAll().map(({ type }) => type)
  t.equal(types[0], PacketType.suback)
  t.equal(types.at(-1), PacketType.unsuback)
  t.ok(types.length < 1000, `${types.length - 2} of 1000 before it`)
})

t.test(
  'where nothing is retained 5.0 clients are told so, and held to it [MQTT-3.2.2-13] [MQTT-3.2.2-14]',
  async (t) => {
    const broker = await TestBroker.start({ settings: { retainedCountMax: 0 } })
    const client = broker.open()
    t.equal(client.connect({ clientId: 'c', version: 5 })?.properties?.retainAvailable, 0)
    client.publish('a', 'plain')
    client.publish('a', 'kept', { retain: true })
    t.match(client.take(PacketType.disconnect), { reasonCode: ReasonCode.retainNotSupported })
    const will = { topic: 'w', payload: Buffer.alloc(0), qos: 0, retain: true, properties: undefined } as const
    t.equal(broker.open().connect({ clientId: 'd', version: 5, will })?.reasonCode, ReasonCode.retainNotSupported)
    const older = broker.connect({ clientId: 'e', version: 4, will })
    older.publish('a', 'kept', { retain: true, qos: 1 })
    t.ok(older.take(PacketType.puback), '3.1.1 has no word for it')
    const subscriber = broker.connect({ clientId: 'f' })
    subscriber.subscribe('#')
    t.same(subscriber.takePayloads(), [])
  },
)
