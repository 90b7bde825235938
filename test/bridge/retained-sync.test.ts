/** Retained messages of a gateway and the broker above it after they were apart: only what differs travels. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { MappingRule } from '../../src/bridge/mapping.ts'
import type { TestBroker, TestClient } from '../fakes/test-broker.ts'
import { durable, everything, type Options, World } from './world.ts'

const both: MappingRule = { filter: 'state/#', qos: 1, localPrefix: '', remotePrefix: '' }

/** Both ways unless told otherwise. */
async function worldOf(options: Options = {}): Promise<{ world: World; device: TestClient; app: TestClient }> {
  const roomy = { retainedCountMax: 20_000, retainedBytesMax: 10_000_000 }
  const world = await World.make({ out: [both], in: [both], edge: roomy, cloud: roomy, ...options })
  world.passMs(2000)
  const device = world.edge.connect({ clientId: 'device', version: 5 })
  const app = world.cloud.connect({ clientId: 'app', version: 5 })
  return { world, device, app }
}

/** What is retained below `filter`, by topic. */
function retained(broker: TestBroker, filter: string): Record<string, string> {
  const found: Record<string, string> = {}
  const session = broker.broker.openSession('$test', { canTake: true, deliver() {}, onDurable() {} })
  session.retained(filter, ({ topic, payload }) => {
    found[topic] = payload.toString()
  })
  return found
}

function set(client: TestClient, topic: string, payload: string, qos: 0 | 1 = 0): void {
  client.publish(topic, payload, { retain: true, qos })
}

/** The line is cut for a while in which `change` happens. */
function apart(world: World, change: () => void): void {
  world.wire.acceptor = undefined
  world.wire.cut()
  change()
  world.passMs(5000)
  world.wire.acceptor = world.cloud.broker
  world.passMs(30_000)
}

t.test('three of 10 000 retained topics that differ bring no others along', async (t) => {
  const { world, device } = await worldOf()
  for (let n = 0; n < 10_000; n++) set(device, `state/${n}`, 'old')
  world.passMs(5000)
  t.equal(Object.keys(retained(world.cloud, 'g/gw1/state/#')).length, 10_000)
  const before = { sent: 0, bytes: 0 }
  apart(world, () => {
    for (const n of [17, 4711, 9999]) set(device, `state/${n}`, 'new')
    before.sent = world.bridge.status.retainedSentCount
    before.bytes = world.bridge.status.bytesPerDay
  })
  const { status } = world.bridge
  t.equal(status.retainedSentCount - before.sent, 3)
  t.equal(status.retainedReceivedCount, 0)
  const cloud = retained(world.cloud, 'g/gw1/state/#')
  t.equal(cloud['g/gw1/state/4711'], 'new')
  t.equal(Object.values(cloud).filter((payload) => payload === 'new').length, 3)
  const bytes = status.bytesPerDay - before.bytes
  t.ok(bytes < 30_000, `took ${bytes} bytes on the wire, the topics and payloads together are 100 000`)
})

t.test('mosquitto#2248: what is the same on both sides is not sent again', async (t) => {
  const { world, device } = await worldOf()
  for (let n = 0; n < 100; n++) set(device, `state/${n}`, 'same', 1)
  world.passMs(2000)
  const watcher = world.cloud.connect({ clientId: 'watcher' })
  watcher.subscribe('g/gw1/state/#')
  watcher.takeAll()
  apart(world, () => {})
  t.same(watcher.takePayloads(), [])
  t.equal(world.bridge.status.retainedSentCount, 0)
})

t.test('mosquitto#1040: what was deleted at the gateway while it was away is deleted above', async (t) => {
  const { world, device } = await worldOf({ in: [] })
  set(device, 'state/a', 'old')
  set(device, 'state/b', 'old')
  world.passMs(1000)
  apart(world, () => set(device, 'state/a', ''))
  t.same(retained(world.cloud, 'g/gw1/state/#'), { 'g/gw1/state/b': 'old' })
})

t.test('what was deleted above while the gateway was away is deleted there', async (t) => {
  const { world, app } = await worldOf()
  set(app, 'g/gw1/state/a', 'old')
  world.passMs(1000)
  t.same(retained(world.edge, 'state/#'), { 'state/a': 'old' })
  apart(world, () => set(app, 'g/gw1/state/a', ''))
  t.same(retained(world.edge, 'state/#'), {})
  t.same(retained(world.cloud, 'g/gw1/state/#'), {})
})

for (const qos of [0, 1] as const) {
  t.test(`of a topic that both changed with QoS ${qos} the later one stays`, async (t) => {
    const { world, device, app } = await worldOf()
    apart(world, () => {
      set(device, 'state/a', 'edge, earlier', qos)
      world.passMs(1000)
      set(app, 'g/gw1/state/a', 'cloud, later', qos)
      set(app, 'g/gw1/state/b', 'cloud, earlier', qos)
      world.passMs(1000)
      set(device, 'state/b', 'edge, later', qos)
    })
    t.same(retained(world.edge, 'state/#'), { 'state/a': 'cloud, later', 'state/b': 'edge, later' })
    t.same(retained(world.cloud, 'g/gw1/state/#'), {
      'g/gw1/state/a': 'cloud, later',
      'g/gw1/state/b': 'edge, later',
    })
  })
}

t.test('a topic set again after it was deleted on the other side stays', async (t) => {
  const { world, device, app } = await worldOf()
  set(device, 'state/a', 'old')
  world.passMs(1000)
  apart(world, () => {
    set(app, 'g/gw1/state/a', '')
    world.passMs(1000)
    set(device, 'state/a', 'new')
  })
  t.same(retained(world.edge, 'state/#'), { 'state/a': 'new' })
  t.same(retained(world.cloud, 'g/gw1/state/#'), { 'g/gw1/state/a': 'new' })
})

t.test('topics cross only the way their rules say', async (t) => {
  const { world, device, app } = await worldOf({
    out: [{ ...everything, filter: 'up/#' }],
    in: [{ ...everything, filter: 'down/#' }],
  })
  apart(world, () => {
    set(device, 'up/a', 'edge')
    set(device, 'down/mine', 'edge')
    set(app, 'g/gw1/down/a', 'cloud')
    set(app, 'g/gw1/up/mine', 'cloud')
  })
  t.same(retained(world.edge, '+/#'), { 'up/a': 'edge', 'down/mine': 'edge', 'down/a': 'cloud' })
  t.same(retained(world.cloud, 'g/#'), { 'g/gw1/up/a': 'edge', 'g/gw1/down/a': 'cloud', 'g/gw1/up/mine': 'cloud' })
})

t.test('topics that have another name on the other side find one another', async (t) => {
  const renamed: MappingRule = { filter: '#', qos: 1, localPrefix: 'here/', remotePrefix: 'there/' }
  const { world, device } = await worldOf({ out: [renamed], in: [] })
  set(device, 'here/a', '1')
  world.passMs(1000)
  apart(world, () => set(device, 'here/b', '2'))
  t.same(retained(world.cloud, 'g/#'), { 'g/gw1/there/a': '1', 'g/gw1/there/b': '2' })
  t.equal(world.bridge.status.retainedSentCount, 1)
})

t.test('durable subscribers get what the other side had missed with the QoS of its publisher', async (t) => {
  const { world, device } = await worldOf({ out: [], in: [] })
  const subscriber = world.cloud.connect(durable('s'))
  subscriber.subscribe('g/#', { qos: 1 })
  set(device, 'state/a', 'from before there was a rule', 1)
  world.bridge.map({ out: [both], in: [] })
  world.passMs(3000)
  const messages = subscriber.takeAll()
  t.equal(messages.length, 1)
  t.match(messages[0], {
    topic: 'g/gw1/state/a',
    qos: 1,
    properties: { userProperties: [['x-b-path', /^[0-9a-f]+$/]] },
  })
  t.equal(world.bridge.status.retainedSentCount, 1)
})

t.test('either side may be killed in the middle', async (t) => {
  for (const victim of ['crashEdge', 'crashCloud'] as const) {
    const { world, device, app } = await worldOf()
    world.wire.acceptor = undefined
    world.wire.cut()
    for (let n = 0; n < 500; n++) set(device, `state/e${n}`, 'edge')
    for (let n = 0; n < 500; n++) set(app, `g/gw1/state/c${n}`, 'cloud')
    world.wire.acceptor = world.cloud.broker
    for (let waitedMs = 0; waitedMs < 60_000 && world.bridge.status.retainedSentCount === 0; waitedMs += 50) {
      world.passMs(50)
    }
    t.ok(Object.keys(retained(world.cloud, 'g/gw1/state/#')).length < 1000, 'in the middle')
    await world[victim]()
    world.passMs(60_000)
    t.equal(Object.keys(retained(world.cloud, 'g/gw1/state/#')).length, 1000, `${victim}: above`)
    t.equal(Object.keys(retained(world.edge, 'state/#')).length, 1000, `${victim}: below`)
  }
})

t.test('a gateway asks about no topics but its own', async (t) => {
  const { world, app } = await worldOf()
  set(app, 'secret/a', 'x')
  set(app, 'g/gw2/state/a', 'x')
  world.passMs(200)
  const gateway = world.cloud.connect(
    { clientId: 'sly', version: 5 },
    { mountpoint: 'g/{identity}/', identity: 'gw9', acceptsGateways: true },
  )
  const ask = (question: object) => gateway.publish('$bridge/retained/list', JSON.stringify(question))
  ask({ ask: 'list', id: 1, filters: ['#', '../#'], bucketCount: 1, buckets: [0] })
  ask({ ask: 'get', id: 2, topics: ['secret/a', '../gw2/state/a', '#'] })
  gateway.publish('$bridge/retained/list', 'no question')
  ask({ ask: 'list', id: 3, filters: 7, bucketCount: 1e9, buckets: [0] })
  world.passMs(500)
  t.same(
    gateway.takePayloads().map((payload) => JSON.parse(payload) as unknown),
    [
      { id: 1, topics: [], isEnd: true },
      { id: 2, isEnd: true },
    ],
  )
})

t.test(
  'whatever both sides do while they are apart: afterwards both have the same, and it is the last of each topic',
  async () => {
    const change = fc.record({
      isEdge: fc.boolean(),
      topic: fc.constantFrom('a', 'b', 'c'),
      payload: fc.constantFrom('', '1', '2', '3'),
      qos: fc.constantFrom(0 as const, 1 as const),
    })
    const property = fc.asyncProperty(fc.array(change, { maxLength: 6 }), fc.array(change, { maxLength: 6 }), check)
    await fc.assert(property, { numRuns: 25 })

    type Change = { isEdge: boolean; topic: string; payload: string; qos: 0 | 1 }
    async function check(before: Change[], during: Change[]): Promise<void> {
      const { world, device, app } = await worldOf()
      const expected: Record<string, string> = {}
      const perform = ({ isEdge, topic, payload, qos }: Change) => {
        const here = isEdge ? retained(world.edge, `state/${topic}`) : retained(world.cloud, `g/gw1/state/${topic}`)
        // Who deletes what was never there changes nothing.
        if (payload === '' && Object.keys(here).length === 0) return
        if (isEdge) set(device, `state/${topic}`, payload, qos)
        else set(app, `g/gw1/state/${topic}`, payload, qos)
        world.passMs(100)
        if (payload === '') delete expected[topic]
        else expected[topic] = payload
      }
      for (const each of before) perform(each)
      apart(world, () => {
        for (const each of during) perform(each)
      })
      const named = (prefix: string) => Object.fromEntries(Object.entries(expected).map(([k, v]) => [prefix + k, v]))
      assert.deepEqual(retained(world.edge, 'state/#'), named('state/'))
      assert.deepEqual(retained(world.cloud, 'g/gw1/state/#'), named('g/gw1/state/'))
    }
  },
)
