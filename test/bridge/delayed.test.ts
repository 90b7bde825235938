/** Delayed messages across a bridge: who holds them, and that what crosses is what is left of the delay. */
import t from 'tap'
import type { TestClient } from '../fakes/test-broker.ts'
import { durable, everything, type Options, World } from './world.ts'

const valve = { ...everything, filter: 'valve' }

async function worldOf(options: Options): Promise<{
  world: World
  device: TestClient
  above: TestClient
  below: TestClient
}> {
  const world = await World.make({ out: [valve], ...options })
  world.passMs(500)
  const device = world.edge.connect(durable('device'))
  const above = world.cloud.connect(durable('above'))
  above.subscribe('g/gw1/valve', { qos: 1 })
  const below = world.edge.connect(durable('below'))
  below.subscribe('valve', { qos: 1 })
  return { world, device, above, below }
}

/** The gateway is out of reach for `durationMs`. */
function apart(world: World, durationMs: number): void {
  world.wire.acceptor = undefined
  world.wire.cut()
  world.passMs(durationMs)
  world.wire.acceptor = world.cloud.broker
  world.passMs(11_000)
}

for (const [holder, atTheEdge, inTheCloud] of [
  ['edge', 1, 0],
  ['cloud', 0, 1],
  ['both', 1, 1],
] as const) {
  t.test(`held by ${holder}: published once to everybody it is for`, async (t) => {
    const { world, device, above, below } = await worldOf({ delayedHolder: holder })
    device.publish('$delayed/60/valve', 'open', { qos: 1 })
    world.passMs(1000)
    t.equal(world.edge.broker.delays.list(10).length, atTheEdge)
    t.equal(world.cloud.broker.delays.list(10).length, inTheCloud)
    t.same([...above.takePayloads(), ...below.takePayloads()], [])
    world.passMs(57_000)
    t.same([...above.takePayloads(), ...below.takePayloads()], [], 'not too early')
    world.passMs(4000)
    t.same(above.takePayloads(), ['open'])
    t.same(below.takePayloads(), holder === 'cloud' ? [] : ['open'])
  })
}

t.test('what waited for the line crosses with what is left of the delay', async (t) => {
  const { world, device, above } = await worldOf({ delayedHolder: 'cloud' })
  world.wire.acceptor = undefined
  world.wire.cut()
  device.publish('$delayed/60/valve', 'open', { qos: 0 })
  apart(world, 30_000)
  const [entry] = world.cloud.broker.delays.list(1)
  t.match(entry, { topic: 'g/gw1/valve' })
  const remainingSeconds = entry?.remainingSeconds ?? 0
  t.ok(remainingSeconds > 15 && remainingSeconds <= 20, `${remainingSeconds} s are left`)
  world.passMs(17_000)
  t.same(above.takePayloads(), [])
  world.passMs(4000)
  t.same(above.takePayloads(), ['open'])
})

t.test('what is due when the line is there again is published at once', async (t) => {
  const { world, device, above } = await worldOf({ delayedHolder: 'cloud' })
  world.wire.acceptor = undefined
  world.wire.cut()
  device.publish('$delayed/20/valve', 'open', { qos: 1 })
  apart(world, 60_000)
  t.same(above.takePayloads(), ['open'])
})

t.test('the cloud publishes in time although the gateway is gone', async (t) => {
  const { world, device, above } = await worldOf({ delayedHolder: 'cloud' })
  device.publish('$delayed/20/valve', 'open', { qos: 1 })
  world.passMs(1000)
  world.wire.acceptor = undefined
  world.wire.cut()
  world.passMs(20_000)
  t.same(above.takePayloads(), ['open'])
})

t.test('expiry counts from when the message came, on both sides', async (t) => {
  const { world, device, above } = await worldOf({ delayedHolder: 'cloud' })
  device.publish('$delayed/20/valve', 'late', { qos: 1, properties: { messageExpiryInterval: 10 } })
  device.publish('$delayed/20/valve', 'good', { qos: 1, packetId: 2, properties: { messageExpiryInterval: 60 } })
  world.passMs(25_000)
  const [message] = above.takeAll()
  t.match(message, { properties: { messageExpiryInterval: 40 } })
  t.same(above.takePayloads(), [])
})

t.test('a retained message that is held on both sides is retained on both when it is due', async (t) => {
  const { world, device } = await worldOf({ delayedHolder: 'both' })
  device.publish('$delayed/20/valve', 'open', { qos: 1, retain: true })
  world.passMs(10_000)
  const retained = (broker: World['edge'], topic: string) => {
    const client = broker.connect({ clientId: 'r' })
    client.subscribe(topic)
    return client.takePayloads()
  }
  t.same(retained(world.cloud, 'g/gw1/valve'), [])
  world.passMs(12_000)
  t.same(retained(world.cloud, 'g/gw1/valve'), ['open'])
  t.same(retained(world.edge, 'valve'), ['open'])
})

t.test('limits per client hold below, and one gateway may have more waiting above than one client', async (t) => {
  const { world, device } = await worldOf({ delayedHolder: 'both' })
  const other = world.edge.connect(durable('other'))
  for (const client of [device, other]) {
    for (let n = 1; n <= 12; n++) client.publish('$delayed/900/valve', String(n), { qos: 1, packetId: n })
  }
  world.passMs(2000)
  t.equal(world.edge.broker.delays.list(100).length, 20)
  t.equal(world.cloud.broker.delays.list(100).length, 20)
})

t.test('a full table of delays above refuses that one message and holds up nothing else', async (t) => {
  const delayLimits = { countMax: 3, countMaxPerClient: 3, bytesMax: 10_000 }
  const { world, device, above } = await worldOf({ delayedHolder: 'cloud', cloud: { delayLimits } })
  const accepted = world.cloud.broker.counters.connectAccepted
  for (let n = 1; n <= 5; n++) device.publish('$delayed/60/valve', `later ${n}`, { qos: 1, packetId: n })
  for (let n = 1; n <= 3; n++) device.publish('valve', `now ${n}`, { qos: 1, packetId: n })
  world.passMs(5000)
  t.same(above.takePayloads(), ['now 1', 'now 2', 'now 3'])
  t.match(world.bridge.status, { backlogCount: 0, rejectedCount: 2, state: 'online' })
  t.equal(world.cloud.broker.counters.connectAccepted, accepted, 'the connection stays')
  t.match(world.edge.broker.losses.records, [{ reason: 'remote_refused', count: 2 }])
  t.match(
    world.cloudGaps.map(({ skips, isUnexplained }) => [skips[0]?.reason, isUnexplained]),
    [
      ['refused', false],
      ['refused', false],
    ],
  )
  world.passMs(60_000)
  t.same(above.takePayloads(), ['later 1', 'later 2', 'later 3'])
})
