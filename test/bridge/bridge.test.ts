/** An edge and a cloud broker with a bridge between them, on one virtual clock: cuts, black holes, crashes, limits. */
import fc from 'fast-check'
import t from 'tap'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { testSettings } from '../fakes/test-broker.ts'
import { Collector, durable, everything, gated, gatewayTraits, numbers, publishMany, World } from './world.ts'

t.test('a message crosses under the prefix of its gateway', async (t) => {
  const world = await World.make()
  const collector = new Collector(world.cloud, 'g/#')
  world.passMs(200)
  t.equal(world.bridge.status.state, 'online')
  const device = world.edge.connect({ clientId: 'd' })
  device.publish('room/1', '21', { qos: 1 })
  device.publish('room/1', 'qos 0')
  world.passMs(200)
  collector.collect()
  t.same(collector.payloads.sort(), ['21', 'qos 0'])
  t.same(collector.topics, ['g/gw1/room/1', 'g/gw1/room/1'])
  t.equal(world.bridge.status.backlogCount, 0)
})

t.test('what is published while nobody answers waits, and goes up in order when somebody does', async (t) => {
  const world = await World.make()
  const collector = new Collector(world.cloud, 'g/#')
  world.wire.acceptor = undefined
  world.wire.cut()
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 200)
  world.passMs(30_000)
  t.equal(world.bridge.status.backlogCount, 200)
  world.wire.acceptor = world.cloud.broker
  world.passMs(30_000)
  t.same(collector.collect().payloads, numbers(1, 200))
  t.equal(world.bridge.status.backlogCount, 0)
})

t.test('a backlog without acknowledgements goes on when more waits than one write may carry', async (t) => {
  const world = await World.make({
    out: [{ ...everything, filter: 'temp', qos: 0 }, everything],
    uplink: { outputBytesMax: 2000 },
  })
  const collector = new Collector(world.cloud, 'g/#')
  world.wire.acceptor = undefined
  world.wire.cut()
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 200)
  world.wire.acceptor = world.cloud.broker
  world.passMs(30_000)
  t.same(collector.collect().payloads, numbers(1, 200))
  t.equal(world.bridge.status.backlogCount, 0)
})

t.test('a link that dies without a packet is noticed by the answer that does not come', async (t) => {
  const world = await World.make()
  const collector = new Collector(world.cloud, 'g/#')
  const device = world.edge.connect({ clientId: 'd' })
  world.passMs(200)
  publishMany(device, 1, 50)
  world.passMs(1000)
  world.wire.blackHole()
  publishMany(device, 51, 60)
  world.passMs(2600)
  t.not(world.bridge.status.state, 'online', 'two seconds and two round trips are over')
  publishMany(device, 61, 80)
  world.passMs(5000)
  world.wire.restore()
  world.passMs(30_000)
  t.same(collector.collect().payloads, numbers(1, 80))
})

t.test('an idle link that dies is noticed by the keep-alive', async (t) => {
  const world = await World.make()
  world.passMs(3000)
  world.wire.blackHole()
  world.passMs(50_000)
  t.equal(world.bridge.status.state, 'online', 'nothing was asked yet')
  world.passMs(20_000)
  t.not(world.bridge.status.state, 'online')
})

t.test('a link without trouble is left alone [MQTT-3.1.2-20]', async (t) => {
  const world = await World.make()
  world.passMs(1000)
  for (let minutes = 0; minutes < 10; minutes++) world.passMs(60_000)
  t.equal(world.cloud.broker.counters.connectAccepted, 1)
})

t.test('a crash of the edge loses nothing that was acknowledged, and doubles nothing at the cloud', async (t) => {
  const world = await World.make()
  const collector = new Collector(world.cloud, 'g/#')
  world.passMs(200)
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 40)
  world.passMs(30)
  await world.crashEdge()
  publishMany(world.edge.connect({ clientId: 'd' }), 41, 60)
  world.passMs(30_000)
  t.same(collector.collect().payloads, numbers(1, 60))
  t.ok(world.cloud.broker.counters.duplicatesRecognised > 0, 'some came again and were recognised')
})

t.test('a crash with a full window, saved when the link was lost, is resumed', async (t) => {
  const world = await World.make()
  const collector = new Collector(world.cloud, 'g/#')
  world.passMs(200)
  world.wire.blackHole()
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 100)
  world.passMs(10_000)
  await world.crashEdge()
  world.wire.restore()
  world.passMs(30_000)
  t.same(collector.collect().payloads, numbers(1, 100))
})

t.test('a crash of the cloud loses and doubles nothing either', async (t) => {
  const world = await World.make()
  const collector = new Collector(world.cloud, 'g/#')
  world.passMs(200)
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 40)
  world.passMs(30)
  collector.collect()
  await world.crashCloud()
  collector.moveTo(world.cloud)
  world.passMs(30_000)
  const unique = [...new Set(collector.collect().payloads)]
  t.same(unique, numbers(1, 40))
})

t.test('whatever happens in whatever order: nothing lost, nothing doubled, order kept', async (t) => {
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ at: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 30 }) }),
    },
    { weight: 4, arbitrary: fc.record({ at: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 8000 }) }) },
    { weight: 1, arbitrary: fc.record({ at: fc.constantFrom('black-hole', 'restore', 'cut', 'crash-edge' as const) }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const world = await World.make()
      const collector = new Collector(world.cloud, 'g/#')
      let produced = 0
      let device = world.edge.connect({ clientId: 'd' })
      for (const action of steps) {
        switch (action.at) {
          case 'publish':
            publishMany(device, produced + 1, produced + action.count)
            produced += action.count
            break
          case 'pass':
            world.passMs(action.ms)
            break
          case 'black-hole':
            world.wire.blackHole()
            break
          case 'restore':
            world.wire.restore()
            break
          case 'cut':
            world.wire.cut()
            break
          case 'crash-edge':
            await world.crashEdge()
            device = world.edge.connect({ clientId: 'd' })
        }
        collector.collect()
      }
      world.wire.restore()
      world.passMs(60_000)
      const arrived = collector.collect().payloads
      return arrived.length === produced && arrived.every((payload, index) => payload === String(index + 1))
    }),
    { numRuns: 60 },
  )
  t.pass('60 histories')
})

t.test('messages from the cloud come down under their local names and do not go up again', async (t) => {
  const world = await World.make({ in: [{ filter: 'cmd/#', qos: 1, localPrefix: 'down/', remotePrefix: '' }] })
  const collector = new Collector(world.cloud, 'g/#')
  const device = world.edge.connect(durable('device'))
  device.subscribe('down/#', { qos: 1 })
  world.passMs(500)
  world.cloud.connect({ clientId: 'operator' }).publish('g/gw1/cmd/led', 'on', { qos: 1 })
  world.passMs(500)
  const message = device.takePublish()
  t.equal(message.topic, 'down/cmd/led')
  t.same(collector.collect().topics, ['g/gw1/cmd/led'], "the operator's own, and no echo")
})

t.test('a remote broker without room makes the bridge wait, not drop', async (t) => {
  const gate = { isWritable: true }
  const world = await World.make({ cloudStore: (store) => gated(store, gate) })
  const collector = new Collector(world.cloud, 'g/#')
  world.passMs(200)
  gate.isWritable = false
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 10)
  world.passMs(10_000)
  t.same(collector.collect().payloads, [])
  t.equal(world.bridge.status.backlogCount, 10)
  gate.isWritable = true
  world.passMs(30_000)
  t.same(collector.collect().payloads, numbers(1, 10))
})

t.test('a local store that takes nothing makes messages from the cloud wait there', async (t) => {
  const gate = { isWritable: true }
  const down = [{ filter: 'cmd/#', qos: 1 as const, localPrefix: '', remotePrefix: '' }]
  const world = await World.make({ in: down, out: [], edgeStore: (store) => gated(store, gate) })
  const device = world.edge.connect(durable('device'))
  device.subscribe('cmd/#', { qos: 1 })
  world.passMs(500)
  gate.isWritable = false
  world.cloud.connect({ clientId: 'operator' }).publish('g/gw1/cmd/led', 'on', { qos: 1 })
  world.passMs(5000)
  t.same(device.takePayloads(), [])
  gate.isWritable = true
  world.passMs(30_000)
  t.same(device.takePayloads(), ['on'])
})

t.test('a message that the remote broker will never take is given up and counted', async (t) => {
  const world = await World.make({ traits: { ...gatewayTraits, mountpoint: '$x/' } })
  world.passMs(200)
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 3)
  world.passMs(1000)
  t.equal(world.bridge.status.rejectedCount, 3, reasonOf(ReasonCode.notAuthorized))
  t.equal(world.bridge.status.backlogCount, 0)
})

function reasonOf(code: ReasonCode): string {
  return `refused with ${code}`
}

t.test('a stopped bridge says goodbye and does not come back', async (t) => {
  const world = await World.make()
  world.passMs(200)
  world.bridge.stop()
  world.passMs(60_000)
  t.equal(world.bridge.status.state, 'stopped')
  t.equal(world.cloud.broker.counters.connectAccepted, 1)
  t.equal(testSettings.inflightMax, 8)
})
