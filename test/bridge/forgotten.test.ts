/** A bridge that is taken out of the settings does not hold the log for ever. */
import t from 'tap'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { TestBroker } from '../fakes/test-broker.ts'
import { Collector, everything, publishMany, World } from './world.ts'

const weekSeconds = 7 * 86_400

/** A gateway whose bridge left messages behind. */
async function abandoned(): Promise<World> {
  const world = await World.make({ out: [everything] })
  world.passMs(500)
  world.wire.acceptor = undefined
  world.wire.cut()
  publishMany(world.edge.connect({ clientId: 'device' }), 1, 3)
  world.passMs(2000)
  world.bridge.stop()
  world.edge.broker.stop()
  world.edge.settle()
  return world
}

async function withoutBridge({ clock, random, edgeDisk }: World): Promise<TestBroker> {
  return TestBroker.start({ clock, store: new MemoryStore({ clock, random, disk: edgeDisk }) })
}

t.test('what waits for it is told, kept for a week, and then dropped into the ledger', async (t) => {
  const world = await abandoned()
  const edge = await withoutBridge(world)
  const kept = edge.broker.endForgotten(weekSeconds)
  const lanes = ['$bridge/up', '$bridge/up/bulk', '$bridge/up/control', '$bridge/up/telemetry']
  t.same(kept.map(({ clientId }) => clientId).sort(), lanes)
  t.same(new Set(kept.map(({ backlogCount }) => backlogCount)), new Set([3]))
  world.clock.advanceMs(weekSeconds * 1000 - 60_000)
  edge.passMs(2000)
  t.equal(edge.store.log.messageCount, 3)
  world.clock.advanceMs(60_000)
  edge.passMs(2000)
  t.equal(edge.store.log.messageCount, 0)
  t.equal(edge.broker.counters.sessionCount, 0)
  t.match(edge.broker.losses, { records: [{ reason: 'session_expired' }] })
})

t.test('a second start does not begin the week again', async (t) => {
  const world = await abandoned()
  const first = await withoutBridge(world)
  first.broker.endForgotten(weekSeconds)
  world.clock.advanceMs(weekSeconds * 1000 - 60_000)
  first.passMs(1000)
  first.broker.stop()
  const second = await withoutBridge(world)
  t.ok(second.broker.endForgotten(weekSeconds).length > 0)
  world.clock.advanceMs(60_000)
  second.passMs(2000)
  t.equal(second.store.log.messageCount, 0)
})

t.test('a bridge that is named again within the week sends what waits', async (t) => {
  const world = await abandoned()
  const edge = await withoutBridge(world)
  edge.broker.endForgotten(weekSeconds)
  edge.passMs(86_400)
  edge.broker.stop()
  const collector = new Collector(world.cloud, 'g/#')
  world.wire.acceptor = world.cloud.broker
  await world.startEdge()
  world.passMs(3000)
  t.same(collector.collect().payloads, ['1', '2', '3'])
})

t.test('one for which nothing waits ends at once, and so do other parts that are gone', async (t) => {
  const world = await World.make({ out: [everything] })
  world.passMs(3000)
  world.bridge.stop()
  const edge = await withoutBridge(world)
  t.same(edge.broker.endForgotten(weekSeconds), [])
  t.equal(edge.broker.counters.sessionCount, 0)
})
