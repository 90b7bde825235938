/** What waits for one durable session: its limits, which hold when it reads on, and its order. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { noQueueLimits } from '../../src/broker/session-queue.ts'
import type { QueueLimits } from '../../src/ports/local.ts'
import { type Connect, PacketType, type Qos } from '../../src/protocol/packet.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const durable = (clientId: string): Connect & { clientId: string } =>
  ({ clientId, version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } }) as Connect

async function start(limits: Partial<QueueLimits>, disk = new MemoryDisk(), nowMs = 0): Promise<TestBroker> {
  const clock = new VirtualClock(nowMs)
  const store = new MemoryStore({ clock, random: new SeededRandom(2), disk })
  return TestBroker.start({ clock, store, settings: { queueLimits: { ...noQueueLimits, ...limits } } })
}

/** A durable session with one subscription that is away. */
function subscribeAway(broker: TestBroker, topicFilter = 'a', qos: Qos = 1): void {
  const subscriber = broker.connect(durable('s'))
  subscriber.subscribe(topicFilter, { qos })
  subscriber.drop()
}

function publish(broker: TestBroker, from: number, to: number, topic = 'a', qos: Qos = 1): void {
  const publisher = broker.connect({ clientId: 'p' })
  for (let i = from; i <= to; i++) publisher.publish(topic, `${i}`, { qos, packetId: qos === 0 ? 0 : i })
  publisher.disconnect()
}

/** Connects the subscriber and takes everything, acknowledging it. */
function drain(broker: TestBroker): number[] {
  return acknowledge(broker.connect(durable('s')))
}

function acknowledge(subscriber: TestClient): number[] {
  const received: number[] = []
  for (let all = subscriber.takeAll(); all.length > 0; all = subscriber.takeAll()) {
    for (const packet of all) {
      if (!(packet instanceof Publish)) continue
      received.push(Number(packet.payload.toString()))
      if (packet.qos === 1) subscriber.puback(packet.packetId)
    }
  }
  return received
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}

function losses(broker: TestBroker): object[] {
  return broker.broker.losses.records.map(({ reason, scope, lane, count }) => ({ reason, scope, lane, count }))
}

t.test('a queue that is too long loses its oldest messages when the session reads on', async (t) => {
  const broker = await start({ countMax: 10 })
  subscribeAway(broker)
  publish(broker, 1, 25)
  publish(broker, 100, 200, 'for nobody here')
  t.equal(broker.broker.counters.dropped.sessionQueueFull, 0, 'nothing happens while it is away')
  t.strictSame(drain(broker), range(16, 25))
  t.equal(broker.broker.counters.dropped.sessionQueueFull, 15)
  t.strictSame(losses(broker), [{ reason: 'queue_full', scope: 's', lane: 1, count: 15 }])
})

t.test('or its newest', async (t) => {
  const broker = await start({ countMax: 10, whenFull: 'drop_newest' })
  subscribeAway(broker)
  publish(broker, 1, 25)
  t.strictSame(drain(broker), range(1, 10))
  t.equal(broker.broker.counters.dropped.sessionQueueFull, 15)
  publish(broker, 26, 30)
  t.strictSame(drain(broker), range(26, 30))
})

t.test('a queue is as large as its bytes allow', async (t) => {
  for (const whenFull of ['drop_oldest', 'drop_newest'] as const) {
    const broker = await start({ bytesMax: 40, whenFull })
    subscribeAway(broker)
    publish(broker, 100, 119) // each one byte of topic and three of payload
    t.strictSame(drain(broker), whenFull === 'drop_oldest' ? range(110, 119) : range(100, 109))
  }
})

t.test('messages that have waited for too long go', async (t) => {
  const broker = await start({ ageMsMax: 10_000 })
  subscribeAway(broker)
  publish(broker, 1, 5)
  broker.passMs(6000)
  publish(broker, 6, 9)
  broker.passMs(6000)
  t.strictSame(drain(broker), range(6, 9))
  t.equal(broker.broker.counters.dropped.tooOld, 5)
  t.strictSame(losses(broker), [{ reason: 'too_old', scope: 's', lane: 1, count: 5 }])
})

t.test('the limits hold for a client that is there and slow', async (t) => {
  const broker = await start({ countMax: 10 })
  const slow = broker.connect(durable('s'))
  slow.subscribe('a', { qos: 1 })
  publish(broker, 1, 50)
  t.strictSame(acknowledge(slow), [...range(1, 8), ...range(41, 50)], 'a window, then what the queue holds')
  publish(broker, 51, 55)
  t.strictSame(acknowledge(slow), range(51, 55))
})

t.test('the limits hold after a restart, when nothing was counted yet', async (t) => {
  const disk = new MemoryDisk()
  const before = await start({ countMax: 10 }, disk)
  subscribeAway(before)
  publish(before, 1, 25)
  const broker = await start({ countMax: 10 }, disk, before.clock.nowMs())
  publish(broker, 26, 30)
  t.strictSame(drain(broker), range(21, 30))
})

t.test('what the session no longer wants does not count', async (t) => {
  const broker = await start({ countMax: 10 })
  const subscriber = broker.connect(durable('s'))
  subscriber.subscribe('a', { qos: 1 })
  subscriber.subscribe('b', { qos: 1 })
  subscriber.drop()
  publish(broker, 1, 10, 'b')
  const blocked = broker.connect(durable('s'))
  blocked.send({ type: PacketType.unsubscribe, packetId: 1, topicFilters: ['b'], properties: undefined })
  publish(broker, 11, 20, 'a')
  t.strictSame(
    acknowledge(blocked).filter((number) => number > 10),
    range(11, 20),
  )
})

t.test('QoS 0 waits for a durable session when it is asked to, and comes once', async (t) => {
  const broker = await start({ keepsQos0: true })
  subscribeAway(broker)
  const there = broker.connect(durable('there'))
  there.subscribe('a', { qos: 0 })
  publish(broker, 1, 3, 'a', 0)
  publish(broker, 4, 5, 'a', 1)
  t.strictSame(acknowledge(there), range(1, 5))
  t.strictSame(drain(broker), range(1, 5), 'in order, whatever the QoS')
  publish(broker, 6, 7, 'a', 0)
  t.strictSame(acknowledge(there), [6, 7])
  t.equal(broker.broker.counters.dropped.offlineQos0, 0)
  t.equal(broker.store.log.extents[2]?.messageCount, 3, 'telemetry')

  const without = await start({})
  subscribeAway(without)
  publish(without, 1, 3, 'a', 0)
  t.strictSame(drain(without), [])
  t.equal(without.broker.counters.dropped.offlineQos0, 3)
})

/** One subscriber at random: publishes, acknowledgements, pauses and reconnects in any order. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ publish: fc.integer({ min: 1, max: 12 }), qos: fc.constantFrom<Qos>(0, 1) }) },
  { weight: 4, arbitrary: fc.record({ acknowledge: fc.integer({ min: 1, max: 9 }) }) },
  { weight: 1, arbitrary: fc.constant({ drop: true } as const) },
  { weight: 1, arbitrary: fc.constant({ connect: true } as const) },
)

async function runSteps(
  steps: (typeof step extends fc.Arbitrary<infer S> ? S : never)[],
  limits: Partial<QueueLimits>,
) {
  const broker = await start(limits)
  let subscriber: TestClient | undefined = broker.connect(durable('s'))
  subscriber.subscribe('#', { qos: 1 })
  const publisher = broker.connect({ clientId: 'p' })
  const firsts: number[] = []
  const unacknowledged: number[] = []
  let publishedCount = 0
  const take = (): void => {
    for (const packet of subscriber?.takeAll() ?? []) {
      if (!(packet instanceof Publish)) continue
      const number = Number(packet.payload.toString())
      if (!packet.dup) firsts.push(number)
      if (packet.qos === 1) unacknowledged.push(packet.packetId)
    }
  }
  const connect = (): void => {
    subscriber ??= broker.connect(durable('s'))
  }
  for (const each of steps) {
    if ('publish' in each) {
      for (let i = 0; i < each.publish; i++) {
        publishedCount++
        publisher.publish(`t/${publishedCount % 3}`, `${publishedCount}`, { qos: each.qos, packetId: each.qos })
      }
    } else if ('acknowledge' in each) {
      take()
      if (subscriber !== undefined) {
        for (const packetId of unacknowledged.splice(0, each.acknowledge)) subscriber.puback(packetId)
      }
    } else if ('drop' in each) {
      take()
      subscriber?.drop()
      subscriber = undefined
      unacknowledged.length = 0
    } else {
      connect()
    }
  }
  connect()
  do {
    take()
    for (const packetId of unacknowledged.splice(0)) subscriber?.puback(packetId)
    take()
  } while (unacknowledged.length > 0)
  return { broker, firsts, publishedCount }
}

t.test('the order of a publisher holds when a session changes from the log to live and back', async () => {
  const property = fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
    const { firsts, publishedCount } = await runSteps(steps, { keepsQos0: true })
    assert.deepEqual(firsts, range(1, publishedCount))
  })
  await fc.assert(property, { numRuns: 150 })
})

t.test('with limits the order holds, and what does not come is counted', async () => {
  const limits = fc.record({
    countMax: fc.integer({ min: 1, max: 12 }),
    bytesMax: fc.constantFrom(20, 1000),
    whenFull: fc.constantFrom('drop_oldest' as const, 'drop_newest' as const),
  })
  const steps = fc.array(step, { minLength: 5, maxLength: 60 })
  const property = fc.asyncProperty(steps, limits, async (steps, limits) => {
    const { broker, firsts, publishedCount } = await runSteps(steps, { ...limits, keepsQos0: true })
    assert.deepEqual(
      firsts,
      [...new Set(firsts)].sort((one, other) => one - other),
    )
    assert.equal(firsts.length + broker.broker.counters.dropped.sessionQueueFull, publishedCount)
  })
  await fc.assert(property, { numRuns: 150 })
})
