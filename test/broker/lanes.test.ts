/** Lanes of the log: which message goes into which, what each may hold, and sessions that read only one. */
import t from 'tap'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { type LaneLimits, LaneRules } from '../../src/broker/lane-rules.ts'
import { Lane, lanes } from '../../src/ports/lane.ts'
import type { LocalConsumer, LocalSession } from '../../src/ports/local.ts'
import { type Ack, type Connect, PacketType, type Qos } from '../../src/protocol/packet.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { roomyLane, TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const durable = (clientId: string): Connect & { clientId: string } =>
  ({ clientId, version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } }) as Connect

const rules = [
  { topicFilter: 'alarm/#', lane: Lane.control },
  { topicFilter: 'debug/#', lane: Lane.bulk },
  { topicFilter: 'reading/+', lane: Lane.telemetry },
]

/** A broker with a durable session that wants everything and is away. */
async function start(limits: Partial<Record<Lane, Partial<LaneLimits>>>, backlogBytesMax = 100_000_000) {
  const laneLimits = lanes.map((lane) => ({ ...roomyLane, ...limits[lane] }))
  const broker = await TestBroker.start({
    settings: { laneRules: rules, laneLimits, backlogBytesMax, inflightMax: 1000 },
  })
  const subscriber = broker.connect(durable('s'))
  subscriber.subscribe('#', { qos: 1 })
  subscriber.drop()
  return { broker, publisher: broker.connect({ clientId: 'p', version: 5 }) }
}

function publish(publisher: TestClient, topic: string, count: number): ReasonCode | undefined {
  let reasonCode: ReasonCode | undefined
  for (let i = 1; i <= count; i++) {
    publisher.publish(topic, `${topic} ${i}`, { qos: 1, packetId: i })
    reasonCode = (publisher.take(PacketType.puback) as Ack | undefined)?.reasonCode
  }
  return reasonCode
}

function laneOf(table: LaneRules, topic: string, qos: Qos): Lane {
  return table.laneOf({ topic, qos })
}

/** What the subscriber gets when it is back, as how many of each topic, and the first of each. */
function kept(broker: TestBroker): Record<string, [count: number, first: string]> {
  const found: Record<string, [number, string]> = {}
  for (const payload of broker.connect(durable('s')).takePayloads()) {
    const [topic = '', number = ''] = payload.split(' ')
    found[topic] = [(found[topic]?.[0] ?? 0) + 1, found[topic]?.[1] ?? number]
  }
  return found
}

t.test('the first rule that matches decides on the lane, and without one the QoS', async (t) => {
  const table = new LaneRules([...rules, { topicFilter: '#', lane: Lane.bulk }])
  t.equal(laneOf(table, 'alarm/fire', 0), Lane.control)
  t.equal(laneOf(table, 'reading/a', 2), Lane.telemetry)
  t.equal(laneOf(table, 'reading/a', 2), Lane.telemetry, 'also the second time')
  t.equal(laneOf(table, 'reading/a/b', 2), Lane.bulk)
  t.equal(laneOf(table, '$SYS/x', 0), Lane.telemetry, 'a wildcard does not match $')
  const none = new LaneRules([])
  t.strictSame(
    [0, 1, 2].map((qos) => laneOf(none, 'a', qos as Qos)),
    [Lane.telemetry, Lane.event, Lane.event],
  )
})

t.test('how safe a message is says its rule, else its lane; one with QoS 0 promises nothing', async (t) => {
  const own = { topicFilter: 'reading/+/precious', lane: Lane.telemetry, durability: 'disk' } as const
  const table = new LaneRules([own, ...rules], ['disk', 'os', 'ram', 'ram'])
  const of = (topic: string, qos: Qos) => table.durabilityOf({ topic, qos })
  t.equal(of('reading/a/precious', 1), 'disk')
  t.equal(of('reading/a', 1), 'ram')
  t.equal(of('a', 2), 'os')
  t.equal(of('alarm/fire', 1), 'disk')
  t.equal(of('alarm/fire', 0), 'ram')
})

t.test('only what need not be kept is acknowledged before it is written', async (t) => {
  const storeClock = new VirtualClock()
  const store = new MemoryStore({ clock: storeClock, random: new SeededRandom(1) })
  const laneDurabilities = lanes.map((lane) => (lane === Lane.bulk ? 'ram' : lane === Lane.telemetry ? 'os' : 'disk'))
  const broker = await TestBroker.start({ store, settings: { laneRules: rules, laneDurabilities } })
  const subscriber = broker.connect(durable('s'))
  subscriber.subscribe('#', { qos: 1 })
  const publisher = broker.connect({ clientId: 'p', version: 5 })
  for (const topic of ['alarm/x', 'reading/x']) t.equal(publish(publisher, topic, 1), undefined, topic)
  publisher.takeAll()
  const other = broker.connect({ clientId: 'q', version: 5 })
  t.equal(publish(other, 'debug/x', 1), ReasonCode.success)
  other.publish('debug/kept', 'x', { qos: 1, packetId: 2, retain: true })
  t.equal((other.take(PacketType.puback) as Ack | undefined)?.packetId, 2)
  storeClock.endTurn()
  broker.settle()
  t.strictSame(
    publisher.takeAll().map((packet) => packet.type),
    [PacketType.puback, PacketType.puback],
  )
})

t.test('messages come in the order they were published, whatever their lanes', async (t) => {
  const { broker, publisher } = await start({})
  const topics = ['alarm/1', 'debug/1', 'a', 'reading/1', 'a', 'alarm/1', 'reading/1']
  for (const [index, topic] of topics.entries()) publisher.publish(topic, `${index}`, { qos: 1, packetId: 1 })
  t.strictSame(
    broker.store.log.extents.map(({ messageCount }) => messageCount),
    [2, 2, 2, 1],
  )
  t.strictSame(broker.connect(durable('s')).takePayloads(), ['0', '1', '2', '3', '4', '5', '6'])
})

t.test('a lane that is full loses its oldest messages, other lanes lose none', async (t) => {
  const { broker, publisher } = await start({ [Lane.telemetry]: { countMax: 5 }, [Lane.event]: { bytesMax: 20 } })
  publish(publisher, 'alarm/x', 9)
  publish(publisher, 'a', 9)
  publish(publisher, 'reading/x', 9)
  broker.passMs(1500)
  t.equal(broker.broker.counters.dropped.backlogFull, 4 + 4)
  t.strictSame(kept(broker), { 'alarm/x': [9, '1'], a: [5, '5'], 'reading/x': [5, '5'] })
})

t.test('a full backlog takes from bulk first, then telemetry, then events, never from control', async (t) => {
  const { broker, publisher } = await start({ [Lane.control]: { bytesMax: 200 } }, 1000)
  const bytes = (topic: string): number => 2 * topic.length + 2
  publish(publisher, 'alarm/x', 9)
  publish(publisher, 'reading/x', 9)
  publish(publisher, 'debug/x', 9)
  broker.passMs(1500)
  t.equal(broker.broker.counters.dropped.backlogFull, 0, 'there is room')
  for (let i = 0; i < 9; i++) publish(publisher, 'eventful', 9)
  broker.passMs(1500)
  const { 'alarm/x': alarms, ...others } = kept(broker)
  t.strictSame(alarms, [9, '1'], 'control is beside the others, not among them')
  t.strictSame(Object.keys(others), ['eventful'])
  const left = others['eventful']?.[0] ?? 0
  t.ok(left * bytes('eventful') <= 800 && (left + 1) * bytes('eventful') > 800, `${left} events`)
})

t.test('a lane that refuses answers 0x97 when it is full, and takes messages again when there is room', async (t) => {
  const { broker, publisher } = await start({ [Lane.control]: { countMax: 10, whenFull: 'refuse' } })
  t.equal(publish(publisher, 'alarm/x', 10), ReasonCode.success)
  broker.passMs(1500)
  t.equal(publish(publisher, 'alarm/x', 3), ReasonCode.quotaExceeded)
  t.equal(publish(publisher, 'a', 3), ReasonCode.success)
  t.equal(broker.broker.counters.dropped.laneFull, 3)
  const old = broker.connect({ clientId: 'old' })
  old.publish('alarm/x', 'x', { qos: 1, packetId: 7 })
  t.equal(old.take(PacketType.puback), undefined, 'before 5.0 it is sent again')

  const subscriber = broker.connect(durable('s'))
  for (const packet of subscriber.takeAll()) if (packet.type === PacketType.publish) subscriber.puback(packet.packetId)
  broker.passMs(1500)
  t.equal(publish(publisher, 'alarm/x', 1), ReasonCode.success)
})

t.test('a full lane refuses nothing that no durable session wants', async (t) => {
  const { broker, publisher } = await start({ [Lane.control]: { countMax: 10, whenFull: 'refuse' } })
  publish(publisher, 'alarm/x', 10)
  broker.passMs(1500)
  const house = broker.broker.openSession('$house', {
    onDurable: () => undefined,
  } as Partial<LocalConsumer> as LocalConsumer)
  const message = Publish.create({ topic: 'alarm/x', payload: 'x', qos: 1 })
  t.notOk(house.canPublish(message))
  // Its session ends; the lane is as full as before.
  broker.connect({ clientId: 's', version: 5, cleanStart: true })
  t.ok(house.canPublish(message))
})

t.test('a lane that drops its newest takes messages and does not keep them while it is full', async (t) => {
  const { broker, publisher } = await start({ [Lane.bulk]: { countMax: 10, whenFull: 'drop_newest' } })
  publish(publisher, 'debug/x', 10)
  broker.passMs(1500)
  t.equal(publish(publisher, 'debug/x', 5), ReasonCode.success)
  t.equal(broker.broker.counters.dropped.laneFull, 5)
  t.strictSame(kept(broker), { 'debug/x': [10, '1'] })
})

t.test('messages that have waited longer than their lane allows are dropped', async (t) => {
  const { broker, publisher } = await start({ [Lane.telemetry]: { ageMsMax: 10_000 } })
  publish(publisher, 'reading/x', 3)
  publish(publisher, 'a', 3)
  broker.passMs(6000)
  publish(publisher, 'reading/x', 2)
  broker.passMs(6000)
  t.equal(broker.broker.counters.dropped.backlogFull, 3)
  t.strictSame(kept(broker), { a: [3, '1'], 'reading/x': [2, '1'] })
})

t.test('what nobody needs is trimmed lane by lane', async (t) => {
  const { broker, publisher } = await start({})
  broker.connect(durable('s')).disconnect()
  const consumer = new Collector()
  const session = broker.broker.openSession('$only-control', consumer, { lane: Lane.control })
  session.subscribe([everything])
  publish(publisher, 'alarm/x', 2)
  publish(publisher, 'a', 3)
  const subscriber = broker.connect(durable('s'))
  for (const packet of subscriber.takeAll()) if (packet.type === PacketType.publish) subscriber.puback(packet.packetId)
  broker.passMs(1500)
  t.strictSame(
    broker.store.log.extents.map(({ messageCount }) => messageCount),
    [2, 0, 0, 0],
  )
  t.equal(session.backlogCount, 2)
})

const everything = { topicFilter: '#', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 2 } as const

class Collector implements LocalConsumer {
  readonly canTake = true
  session: LocalSession | undefined
  topics: string[] = []

  deliver(message: { topic: string }, _qos: number, _retain: boolean, _dup: boolean, packetId: number): void {
    this.topics.push(message.topic)
    if (packetId !== 0) this.session?.acknowledge(packetId)
  }

  onDurable(): void {}
}

t.test('a session of one lane gets the messages of that lane once, QoS 0 too, live and from the log', async (t) => {
  const { broker, publisher } = await start({})
  const collectors = lanes.map((lane) => {
    const collector = new Collector()
    collector.session = broker.broker.openSession(`$lane-${lane}`, collector, { lane })
    collector.session.subscribe([everything])
    return collector
  })
  const all = ['alarm/x', 'debug/x', 'reading/x', 'a']
  const publishAll = (): void => {
    for (const topic of all) for (const qos of [0, 1] as const) publisher.publish(topic, 'x', { qos, packetId: qos })
  }
  const expected = [['alarm/x'], ['a'], ['reading/x'], ['debug/x']]
  publishAll()
  for (const { session } of collectors) session?.attach(4)
  broker.settle()
  t.strictSame(
    collectors.map(({ topics }) => topics),
    expected,
    'QoS 1 from the log',
  )
  for (const collector of collectors) collector.topics = []
  publishAll()
  broker.settle()
  // QoS 0 without a rule is telemetry.
  t.strictSame(
    collectors.map(({ topics }) => topics.sort()),
    [['alarm/x', 'alarm/x'], ['a'], ['a', 'reading/x', 'reading/x'], ['debug/x', 'debug/x']],
  )
})
