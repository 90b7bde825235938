/** A bridge with lanes: what goes first, how fast, and how the bridge says it is. */
import t from 'tap'
import type { Store } from '../../src/ports/store.ts'
import { overlaid } from '../fakes/overlaid.ts'
import type { TestBroker, TestClient } from '../fakes/test-broker.ts'
import { Collector, durable, gatewayTraits, noting, numbers, publishMany, World } from './world.ts'

const laneRules = [
  { topicFilter: 'ctl/#', lane: 0 as const },
  { topicFilter: 'log/#', lane: 3 as const },
]

function value(broker: TestBroker, name: string): string | undefined {
  const client = broker.connect({ clientId: `watcher ${name}` })
  client.subscribe(`$SYS/brokers/gw1/bridges/up/${name}`)
  const payload = client.takePayloads().at(-1)
  client.disconnect()
  return payload
}

function publishOn(client: TestClient, topic: string, from: number, to: number): void {
  for (let n = from; n <= to; n++) client.publish(topic, `${topic} ${n}`, { qos: 1, packetId: (n % 1000) + 1 })
}

t.test('a command overtakes the backlog of other lanes, and each lane keeps its order', async (t) => {
  const taken: string[] = []
  const world = await World.make({ edge: { laneRules }, cloudStore: noting(taken) })
  world.cloud.connect(durable('reader')).subscribe('g/#', { qos: 1 })
  world.passMs(500)
  const device = world.edge.connect({ clientId: 'd' })
  world.wire.acceptor = undefined
  world.wire.cut()
  publishOn(device, 'log/1', 1, 300)
  publishOn(device, 'temp', 1, 300)
  publishOn(device, 'ctl/door', 1, 3)
  world.wire.acceptor = world.cloud.broker
  world.passMs(60_000)
  const of = (topic: string) => taken.filter((payload) => payload.startsWith(topic))
  for (const [topic, count] of [
    ['log/1', 300],
    ['temp', 300],
    ['ctl/door', 3],
  ] as const) {
    t.same(
      of(topic),
      numbers(1, count).map((n) => `${topic} ${n}`),
    )
  }
  const lastCommand = taken.indexOf('ctl/door 3')
  t.ok(lastCommand < 20, `behind ${lastCommand} others`)
  t.same(world.cloudGaps, [])
  t.same(world.bridge.status.backlogByLane, { control: 0, event: 0, telemetry: 0, bulk: 0 })
})

/** `temp` drains at 500 messages a second over a line that takes `delayMs` each way. @returns what is sent in some ms */
async function draining(delayMs: number): Promise<{ device: TestClient; sentInMs: (ms: number) => number }> {
  const world = await World.make({ edge: { laneRules }, delayMs })
  world.fleet.setPace('gw1', { rate: 500, burst: 4 })
  world.passMs(1000)
  const device = world.edge.connect({ clientId: 'd' })
  publishOn(device, 'temp', 1, 900)
  const sentInMs = (ms: number): number => {
    const before = world.bridge.status.forwardedCount
    for (let passed = 0; passed < ms; passed++) world.clock.advanceMs(1)
    return world.bridge.status.forwardedCount - before
  }
  world.passMs(200)
  return { device, sentInMs }
}

t.test('a drain gives way to a command, and not for longer than a moment', async (t) => {
  const { device, sentInMs } = await draining(5)
  t.ok(sentInMs(9) >= 3)
  device.publish('ctl/door', 'open', { qos: 1, packetId: 1 })
  t.equal(sentInMs(9), 1, 'only the command')
  t.ok(sentInMs(11) >= 3)
  device.publish('ctl/door', 'shut', { qos: 1, packetId: 2 })
  device.publish('ctl/door', 'lock', { qos: 1, packetId: 3 })
  t.equal(sentInMs(9), 2, 'once for both')
  device.publish('ctl/door', 'late', { qos: 1, packetId: 4 })
  t.ok(sentInMs(9) >= 3, 'the drain has its share too')
})

t.test('a drain goes on as soon as the command has crossed', async (t) => {
  const { device, sentInMs } = await draining(1)
  device.publish('ctl/door', 'open', { qos: 1, packetId: 1 })
  t.equal(sentInMs(2), 1, 'only the command')
  t.ok(sentInMs(9) >= 3)
})

t.test('lanes keep their places and numbers over a crash of either side', async (t) => {
  const taken: string[] = []
  const world = await World.make({ edge: { laneRules }, cloudStore: noting(taken) })
  world.cloud.connect(durable('reader')).subscribe('g/#', { qos: 1 })
  world.passMs(500)
  let sent = 0
  for (const crash of [() => world.crashEdge(), () => world.crashCloud(), () => world.crashEdge()]) {
    const device = world.edge.connect({ clientId: 'd' })
    for (const topic of ['log/1', 'temp', 'ctl/door']) publishOn(device, topic, sent + 1, sent + 40)
    sent += 40
    world.passMs(40)
    await crash()
  }
  world.passMs(60_000)
  for (const topic of ['log/1', 'temp', 'ctl/door']) {
    const payloads = taken.filter((payload) => payload.startsWith(topic))
    t.same(
      payloads,
      numbers(1, sent).map((n) => `${topic} ${n}`),
    )
  }
  t.same(world.cloudGaps, [])
})

t.test('mosquitto#3002: a Receive Maximum of 1 or 10 is kept', async (t) => {
  for (const receiveMaximum of [1, 10]) {
    const world = await World.make({ edge: { laneRules }, cloud: { receiveMaximum } })
    const collector = new Collector(world.cloud, 'g/#')
    world.passMs(500)
    const device = world.edge.connect({ clientId: 'd' })
    publishOn(device, 'log/1', 1, 20)
    publishOn(device, 'temp', 1, 20)
    world.passMs(10_000)
    t.equal(collector.collect().payloads.length, 40)
    t.equal(world.cloud.broker.counters.faults, 0)
    t.equal(world.cloud.broker.counters.connectAccepted, 2, 'reader, bridge, and no second bridge')
  }
})

t.test('what came down does not go up again, whatever its lane', async (t) => {
  const down = [{ filter: 'ctl/#', qos: 1 as const, localPrefix: '', remotePrefix: '' }]
  const world = await World.make({ in: down, edge: { laneRules } })
  const collector = new Collector(world.cloud, 'g/#')
  world.passMs(500)
  world.cloud.connect({ clientId: 'operator' }).publish('g/gw1/ctl/door', 'open', { qos: 1 })
  world.passMs(2000)
  t.same(collector.collect().payloads, ['open'], "the operator's own")
})

t.test('mosquitto#1359: the cloud paces one gateway, or all, and a backlog goes out at that rate', async (t) => {
  const world = await World.make()
  const collector = new Collector(world.cloud, 'g/#')
  world.passMs(500)
  world.fleet.setPace('gw1', { rate: 20, burst: 2 })
  world.passMs(500)
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 400)
  world.passMs(10_000)
  const count = collector.collect().payloads.length
  t.ok(Math.abs(count - 200) < 12, `${count} in ten seconds`)
  const { timeToEmptyMs } = world.bridge.status
  t.ok(Math.abs((timeToEmptyMs ?? 0) - 10_000) < 2000, `${timeToEmptyMs} ms to go`)
  world.wire.cut()
  world.passMs(8000)
  t.ok(collector.collect().payloads.length < 380, 'a new connection does not change that')
  world.fleet.setPace('gw1', undefined)
  world.passMs(3000)
  t.same(collector.collect().payloads, numbers(1, 400))
})

t.test('nanomq#2423: a backlog goes out although nothing new is published', async (t) => {
  const world = await World.make()
  const collector = new Collector(world.cloud, 'g/#')
  world.passMs(500)
  world.wire.acceptor = undefined
  world.wire.cut()
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 50)
  await world.crashEdge()
  world.wire.acceptor = world.cloud.broker
  world.passMs(30_000)
  t.same(collector.collect().payloads, numbers(1, 50))
})

t.test('nanomq#2432: a link dies silently after some of a backlog was sent, and all of it arrives once', async (t) => {
  const taken: string[] = []
  const world = await World.make({ cloudStore: noting(taken) })
  world.cloud.connect(durable('reader')).subscribe('g/#', { qos: 1 })
  world.passMs(500)
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 100)
  world.clock.advanceMs(70)
  world.wire.blackHole()
  t.ok(taken.length > 0 && taken.length < 100, `${taken.length} of 100 arrived`)
  world.passMs(20_000)
  world.wire.restore()
  world.passMs(30_000)
  t.same(taken, numbers(1, 100))
})

// ---- health ----

t.test('hivemq-edge#1290: a bridge that works says so, for people and programs', async (t) => {
  const world = await World.make({ probeSeconds: 5 })
  world.passMs(3000)
  t.equal(world.bridge.status.health, 'ok')
  t.type(world.bridge.status.commitMs, 'number')
  world.passMs(10_000)
  t.equal(value(world.edge, 'health'), 'ok')
  t.equal(value(world.edge, 'queue/count'), '0')
  t.ok(Number(value(world.edge, 'bytes/day')) > 100)
  world.wire.acceptor = undefined
  world.wire.cut()
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 5)
  world.passMs(15_000)
  t.equal(value(world.edge, 'health'), 'offline')
  t.equal(value(world.edge, 'queue/count'), '5')
  t.ok(Number(value(world.edge, 'queue/oldest_seconds')) >= 5)
})

t.test('a cloud that answers pings and keeps nothing is a stuck line, which heals when it can', async (t) => {
  const gate = { isOpen: true }
  const world = await World.make({ probeSeconds: 5, cloudStore: (store) => holding(store, gate) })
  const collector = new Collector(world.cloud, 'g/#')
  world.passMs(6000)
  gate.isOpen = false
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 5)
  const seen = new Set<string>()
  for (let n = 0; n < 60; n++) {
    world.passMs(1000)
    seen.add(world.bridge.status.health)
  }
  t.ok(seen.has('offline') || seen.has('stuck'), [...seen].join(' '))
  t.equal(world.bridge.status.backlogCount, 5)
  gate.isOpen = true
  world.passMs(60_000)
  t.equal(world.bridge.status.health, 'ok')
  t.same(collector.collect().payloads, numbers(1, 5))
})

t.test('a gateway without a certificate is answered as well', async (t) => {
  const traits = { ...gatewayTraits, mountpoint: 'g/x/', requireIdentity: false, allowAnonymous: true }
  const world = await World.make({ probeSeconds: 5, traits, isAnonymous: true })
  world.passMs(1000)
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 3)
  world.passMs(10_000)
  t.equal(world.bridge.status.forwardedCount, 3)
  t.equal(world.bridge.status.health, 'ok')
})

t.test('a cloud that does not have what it acknowledged is found lying', async (t) => {
  const world = await World.make({ probeSeconds: 5 })
  world.cloud.connect(durable('reader')).subscribe('g/#', { qos: 1 })
  world.passMs(500)
  const device = world.edge.connect({ clientId: 'd' })
  publishMany(device, 1, 5)
  world.passMs(1000)
  const marks = new Map(world.cloudDisk.marks)
  publishMany(device, 6, 9)
  world.passMs(10_000)
  t.equal(world.bridge.status.health, 'ok')
  for (const [key, mark] of marks) world.cloudDisk.marks.set(key, mark)
  await world.crashCloud()
  world.passMs(20_000)
  t.equal(world.bridge.status.health, 'lying')
})

/** A store whose commits become durable, and are not reported while the gate is shut. */
function holding(store: Store, gate: { isOpen: boolean }): Store {
  let held: (() => void)[] = []
  return overlaid(store, {
    bind: (owner) =>
      store.bind({
        onDurable: (ticket) => {
          held.push(() => owner.onDurable(ticket))
          if (!gate.isOpen) return
          const due = held
          held = []
          for (const report of due) report()
        },
        onFailure: (failure) => owner.onFailure(failure),
        onRecovered: () => owner.onRecovered(),
      }),
  })
}
