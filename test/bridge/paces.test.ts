/** How fast gateways may send what waits, as the cloud asks it. */
import t, { type Test } from 'tap'
import { readPace } from '../../src/bridge/paces.ts'
import { Collector, publishMany, World } from './world.ts'

/** A gateway that is online; `change` happens while it is away. */
function apart(world: World, change: () => void): void {
  world.wire.acceptor = undefined
  world.wire.cut()
  world.passMs(100)
  change()
  world.wire.acceptor = world.cloud.broker
  world.passMs(10_000)
}

const paced = async (t: Test, world: World, perSecond: number, what: string) => {
  const collector = new Collector(world.cloud, 'g/#')
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 500)
  world.passMs(5000)
  const count = collector.collect().payloads.length
  t.ok(Math.abs(count - 5 * perSecond) <= perSecond, `${what}: ${count} in five seconds`)
}

t.test('a pace for all holds for a gateway that was away when it was asked', async (t) => {
  const world = await World.make()
  world.passMs(500)
  apart(world, () => world.fleet.setPace(undefined, { rate: 20, burst: 2 }))
  await paced(t, world, 20, 'asked while it was away')
})

t.test('a pace survives a restart of the cloud and of the gateway', async (t) => {
  const world = await World.make()
  world.passMs(500)
  world.fleet.setPace('gw1', { rate: 20, burst: 2 })
  world.passMs(500)
  await world.crashCloud()
  await world.crashEdge()
  world.passMs(10_000)
  t.match(world.fleet.gateways, [{ gateway: 'gw1', state: 'online', pace: { rate: 20 } }])
  await paced(t, world, 20, 'after both crashed')
})

t.test('a pace that was taken back while a gateway was away does not hold any longer', async (t) => {
  const world = await World.make()
  world.passMs(500)
  world.fleet.setPace('gw1', { rate: 20, burst: 2 })
  world.passMs(500)
  apart(world, () => world.fleet.setPace('gw1', undefined))
  await paced(t, world, 100, 'all of them')
})

t.test('a pace for all takes the place of those for single gateways', async (t) => {
  const world = await World.make()
  world.passMs(500)
  world.fleet.setPace('gw1', { rate: 5, burst: 1 })
  world.fleet.setPace(undefined, { rate: 20, burst: 2 })
  t.match(world.fleet.gateways, [{ pace: { rate: 20 } }])
  world.fleet.setPace(undefined, undefined)
  t.strictSame(world.fleet.gateways[0]?.pace, undefined)
  world.passMs(500)
  await world.crashCloud()
  t.strictSame(world.fleet.gateways[0]?.pace, undefined, 'nothing of it comes back')
})

t.test('a pace that cannot be read asks for nothing', async (t) => {
  t.equal(readPace('{"rate":0,"burst":0}'), undefined)
  t.equal(readPace('fast'), undefined)
  t.strictSame(readPace('{"rate":100}'), { rate: 100, burst: 10 })
  t.strictSame(readPace('{"rate":1,"burst":0}'), { rate: 1, burst: 1 })
})
