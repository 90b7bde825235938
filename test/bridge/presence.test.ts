/** Who is there, as the broker above tells it: births, deaths, what comes late, and what devices are worth then. */
import t from 'tap'
import { afterNews, type Presence, parseEpoch, readNews } from '../../src/bridge/presence.ts'
import { Lane } from '../../src/ports/lane.ts'
import type { Publish } from '../../src/protocol/packets/publish.ts'
import type { TestBroker, TestClient } from '../fakes/test-broker.ts'
import { gatewayTraits, World } from './world.ts'

const stateTopic = '$fleet/gateways/gw1/state'
const devicesTopic = '$fleet/gateways/gw1/devices'

function retained(broker: TestBroker, topic: string): string | undefined {
  let payload: string | undefined
  const client = broker.connect({ clientId: 'watcher' })
  client.subscribe(topic)
  for (const text of client.takePayloads()) payload = text
  client.disconnect()
  return payload
}

function told(broker: TestBroker, topic = stateTopic): Record<string, unknown> {
  return JSON.parse(retained(broker, topic) ?? '{}') as Record<string, unknown>
}

t.test('a gateway that comes online is told, in our words and in those of mosquitto', async (t) => {
  const world = await World.make()
  world.passMs(500)
  const state = told(world.cloud)
  t.equal(state['state'], 'online')
  t.equal(state['client'], 'edge-gw1')
  t.match(state['epoch'], /^[0-9a-f]+\.1\.1$/)
  t.match(state['since'], /^2026-01-01T00:00:/)
  t.equal(retained(world.cloud, '$SYS/broker/connection/edge-gw1/state'), '1')
})

t.test('a gateway that is lost makes its devices stale and leaves their own topics alone', async (t) => {
  const world = await World.make()
  world.passMs(500)
  world.edge.connect({ clientId: 'pump', will: willOf('pump/status', 'gone') })
  world.edge.connect({ clientId: 'fan' }).disconnect()
  world.passMs(2000)
  t.same(told(world.cloud, devicesTopic)['devices'], { pump: 'online', fan: 'offline' })
  t.equal(told(world.cloud, devicesTopic)['state'], 'live')
  const watcher = world.cloud.connect({ clientId: 'w' })
  watcher.subscribe('g/#')

  world.wire.blackHole()
  world.passMs(110_000)
  t.equal(told(world.cloud)['state'], 'online', 'it may come back yet')
  world.passMs(20_000)
  t.equal(told(world.cloud)['state'], 'lost')
  t.equal(told(world.cloud, devicesTopic)['state'], 'stale')
  t.same(told(world.cloud, devicesTopic)['devices'], { pump: 'online', fan: 'offline' }, 'as they were last known')
  t.equal(retained(world.cloud, '$SYS/broker/connection/edge-gw1/state'), '0')
  t.same(watcher.takePayloads(), [], 'no will of a device was invented')

  world.wire.restore()
  world.passMs(20_000)
  t.equal(told(world.cloud)['state'], 'online')
  t.equal(told(world.cloud, devicesTopic)['state'], 'live')
})

t.test('a blip is no news', async (t) => {
  const world = await World.make()
  world.passMs(500)
  const watcher = world.cloud.connect({ clientId: 'w' })
  watcher.subscribe('$SYS/broker/connection/+/state')
  watcher.takePayloads()
  world.wire.cut()
  world.passMs(20_000)
  t.equal(world.bridge.status.state, 'online')
  t.same(watcher.takePayloads(), ['1'], 'born again, never called dead')
})

t.test('a planned stop is not a loss', async (t) => {
  const world = await World.make()
  world.passMs(500)
  world.bridge.stop()
  world.passMs(100_000)
  t.equal(told(world.cloud)['state'], 'stopped')
  t.equal(told(world.cloud, devicesTopic)['state'], 'stale')
})

t.test('maintenance is told with its end, and over with it', async (t) => {
  const world = await World.make()
  world.passMs(500)
  world.bridge.setMaintenance(10)
  world.passMs(500)
  t.equal(told(world.cloud)['state'], 'maintenance')
  t.match(told(world.cloud)['until'], /^2026-01-01T00:10:0/)
  world.passMs(602_000)
  t.equal(told(world.cloud)['state'], 'online')
  world.bridge.setMaintenance(Number.POSITIVE_INFINITY)
  world.passMs(500)
  t.notOk('until' in told(world.cloud))
  world.bridge.setMaintenance(0)
  world.passMs(500)
  t.equal(told(world.cloud)['state'], 'online')
})

t.test(
  'a gateway that is lost is an alarm; one that is worked on is none, though it is restarted and gone',
  async (t) => {
    const world = await World.make()
    world.passMs(500)
    const { alarms } = world.cloud.broker
    const away = (durationMs: number) => {
      world.wire.acceptor = undefined
      world.wire.cut()
      world.passMs(durationMs)
      world.wire.acceptor = world.cloud.broker
    }
    away(40_000)
    t.match(alarms.list.active, [{ name: 'gateway_lost:gw1', details: { gateway: 'gw1' } }])
    world.passMs(20_000)
    t.same(alarms.list.active, [])

    world.bridge.setMaintenance(60)
    world.passMs(500)
    away(40_000)
    t.same(alarms.list.active, [])
    t.equal(told(world.cloud)['state'], 'maintenance')
    t.match(told(world.cloud)['until'], /^2026-01-01T01:0/)
    await world.crashEdge()
    world.passMs(20_000)
    t.equal(told(world.cloud)['state'], 'maintenance', 'it is not over with a restart')
    world.bridge.setMaintenance(0)
    world.passMs(500)
    t.equal(told(world.cloud)['state'], 'online')
  },
)

t.test('maintenance that is asked for above reaches the gateway, when it is back if it is away', async (t) => {
  const world = await World.make()
  world.passMs(500)
  world.fleet.setMaintenance('gw1', 60)
  world.passMs(500)
  t.equal(told(world.cloud)['state'], 'maintenance')
  world.fleet.setMaintenance('gw1', 0)
  world.passMs(500)
  t.equal(told(world.cloud)['state'], 'online')

  world.wire.acceptor = undefined
  world.wire.cut()
  world.passMs(40_000)
  t.equal(world.cloud.broker.alarms.list.active.length, 1, 'lost')
  world.fleet.setMaintenance(undefined, 10)
  t.same(world.cloud.broker.alarms.list.active, [], 'and missed no more')
  world.passMs(200_000)
  world.wire.acceptor = world.cloud.broker
  world.passMs(30_000)
  t.equal(told(world.cloud)['state'], 'maintenance')
  t.match(told(world.cloud)['until'], /^2026-01-01T00:10:4/, 'ten minutes from when it was asked')
  t.same(world.edgeGaps, [])
  world.passMs(400_000)
  t.equal(told(world.cloud)['state'], 'online', 'over in time')
})

t.test('a gateway that is still away when its maintenance is over is lost', async (t) => {
  for (const end of ['in time', 'by word'] as const) {
    const world = await World.make()
    world.passMs(500)
    world.bridge.setMaintenance(end === 'in time' ? 10 : Number.POSITIVE_INFINITY)
    world.passMs(500)
    world.wire.acceptor = undefined
    world.wire.cut()
    world.passMs(300_000)
    t.same(world.cloud.broker.alarms.list.active, [])
    if (end === 'by word') world.fleet.setMaintenance('gw1', 0)
    world.passMs(1000)
    await world.startCloud()
    world.wire.acceptor = undefined
    world.passMs(400_000)
    t.equal(told(world.cloud)['state'], 'lost', end)
    t.match(world.cloud.broker.alarms.list.active, [{ name: 'gateway_lost:gw1' }])
  }
})

t.test('a cloud that starts again still misses a gateway that was lost', async (t) => {
  const world = await World.make()
  world.passMs(500)
  world.wire.acceptor = undefined
  world.wire.cut()
  world.passMs(40_000)
  await world.startCloud()
  world.wire.acceptor = undefined
  t.match(world.cloud.broker.alarms.list.active, [{ name: 'gateway_lost:gw1' }])
})

t.test('the state outlives a restart of the cloud, and a gateway that does not come back is lost', async (t) => {
  const world = await World.make()
  world.passMs(500)
  world.wire.acceptor = undefined
  world.wire.cut()
  await world.startCloud()
  world.wire.acceptor = undefined
  t.equal(told(world.cloud)['state'], 'online')
  world.passMs(40_000)
  t.equal(told(world.cloud)['state'], 'lost')
  world.wire.acceptor = world.cloud.broker
  world.passMs(30_000)
  t.equal(told(world.cloud)['state'], 'online')
})

t.test('mosquitto#1510: a late will of an old session after a new birth changes nothing', async (t) => {
  const world = await World.make()
  world.passMs(500)
  // The same gateway under another client id: its session there knows nothing of the one that came after it.
  const epoch = String(told(world.cloud)['epoch'])
  const [log = '', boot = '0'] = epoch.split('.')
  const traits = { ...gatewayTraits, identity: 'gw1' }
  const old = world.cloud.connect(
    { clientId: 'edge-old', version: 5, will: deathOf(`${log}.${Number(boot) - 1}.7`) },
    traits,
  )
  old.drop()
  world.passMs(5000)
  t.equal(told(world.cloud)['state'], 'online')
  const now = world.cloud.connect({ clientId: 'edge-old', version: 5, will: deathOf(epoch) }, traits)
  now.drop()
  world.passMs(5000)
  t.equal(told(world.cloud)['state'], 'lost', 'while that of the present connection counts')
})

/** User properties of what `client` was sent last, by name. */
function said(client: TestClient): Record<string, string> {
  return Object.fromEntries(client.takePublish().properties?.userProperties ?? [])
}

t.test(
  'mosquitto#1180: the will of a device that died while the line was down comes later, marked as history',
  async (t) => {
    const world = await World.make()
    world.passMs(500)
    const watcher = world.cloud.connect({ clientId: 'w', version: 5 })
    watcher.subscribe('g/#', { qos: 1 })
    world.edge.connect({ clientId: 'fan', will: willOf('fan/status', 'gone') }).drop()
    world.passMs(500)
    const live = said(watcher)
    t.equal(live['x-b-cause'], 'device')
    t.notOk('x-b-historical' in live, 'it was told at once')

    const pump = world.edge.connect({ clientId: 'pump', will: willOf('pump/status', 'gone') })
    world.wire.acceptor = undefined
    world.wire.cut()
    world.passMs(60_000)
    const diedAt = new Date(world.clock.wallMs()).toISOString()
    pump.drop()
    world.passMs(600_000)
    world.wire.acceptor = world.cloud.broker
    world.passMs(20_000)
    t.match(said(watcher), { 'x-b-cause': 'device', 'x-b-historical': '1', 'x-b-t': new RegExp(diedAt.slice(0, 19)) })
  },
)

t.test('a will of QoS 0 waits for the line as well, over a crash, and crosses once', async (t) => {
  const laneRules = [{ topicFilter: 'pump/#', lane: Lane.control }]
  const world = await World.make({ edge: { laneRules } })
  world.passMs(500)
  const watcher = world.cloud.connect({ clientId: 'w', version: 5 })
  watcher.subscribe('g/#', { qos: 1 })
  const near = world.edge.connect({ clientId: 'n' })
  near.subscribe('+/status', { qos: 1 })
  const will = { ...willOf('fan/status', 'gone'), qos: 0 as const }
  world.edge.connect({ clientId: 'fan', will }).drop()
  world.passMs(1000)
  t.match(near.takeAll(), [{ topic: 'fan/status', qos: 0 }], 'below it is what the device asked for')
  const told = watcher.takeAll() as Publish[]
  t.match(told, [{ topic: 'g/gw1/fan/status' }], 'once')
  t.notOk(told[0]?.properties?.userProperties?.some(([name]) => name === 'x-b-historical'))

  world.wire.acceptor = undefined
  world.wire.cut()
  const pump = { ...willOf('pump/status', 'gone'), qos: 0 as const, retain: true }
  world.edge.connect({ clientId: 'pump', will: pump }).drop()
  t.equal(world.bridge.status.backlogByLane['control'], 1, 'in the lane of its topic')
  world.passMs(60_000)
  await world.crashEdge()
  world.wire.acceptor = world.cloud.broker
  world.passMs(30_000)
  const late = watcher.takeAll() as Publish[]
  t.match(late, [{ topic: 'g/gw1/pump/status' }], 'once, although it is retained and compared')
  t.match(Object.fromEntries(late[0]?.properties?.userProperties ?? []), {
    'x-b-cause': 'device',
    'x-b-historical': '1',
  })
  t.equal(retained(world.cloud, 'g/gw1/pump/status'), 'gone')
  t.equal(retained(world.edge, '$bridge/#'), undefined)
})

t.test('a will that no bridge takes stays as it is', async (t) => {
  const world = await World.make({ out: [{ filter: 'up/#', qos: 1, localPrefix: '', remotePrefix: '' }] })
  const watcher = world.edge.connect({ clientId: 'w', version: 5 })
  watcher.subscribe('fan/#')
  world.edge.connect({ clientId: 'fan', will: willOf('fan/status', 'gone') }).drop()
  t.equal(watcher.takePublish().properties, undefined)
})

t.test('a bridge of another make is told as well', async (t) => {
  const world = await World.make()
  world.bridge.stop()
  const traits = { ...gatewayTraits, identity: 'plant' }
  const will = { ...deathOf('x'), topic: '$SYS/broker/connection/mosq.plant/state', properties: undefined }
  const bridge = world.cloud.connect({ clientId: 'mosq.plant', version: 4, will }, traits)
  bridge.publish('$SYS/broker/connection/mosq.plant/state', '1', { qos: 1, retain: true })
  t.equal(told(world.cloud, '$fleet/gateways/plant/state')['state'], 'online')
  bridge.drop()
  t.equal(told(world.cloud, '$fleet/gateways/plant/state')['state'], 'lost')
  t.equal(retained(world.cloud, '$SYS/broker/connection/mosq.plant/state'), '0')
})

t.test('nobody but a gateway speaks of gateways', async (t) => {
  const world = await World.make()
  world.passMs(500)
  const liar = world.cloud.connect({ clientId: 'liar' })
  liar.publish('$bridge/gw1/state/edge-gw1', '0', { qos: 1 })
  liar.publish('$SYS/broker/connection/edge-gw1/state', '0', { qos: 1, retain: true })
  t.equal(told(world.cloud)['state'], 'online')
  const other = world.cloud.connect({ clientId: 'edge-gw2' }, { ...gatewayTraits, identity: 'gw2' })
  other.publish('$bridge/gw1/state/edge-gw1', '0', { qos: 1 })
  t.equal(told(world.cloud)['state'], 'online')
})

t.test('news are compared by the log, the start and the connection that they speak of', async (t) => {
  const known = (epoch: string): Presence => ({ state: 'online', epoch: parseEpoch(epoch), formerLog: 'bb' })
  const death = (epoch: string) => ({ state: 'lost' as const, epoch: parseEpoch(epoch) })
  t.equal(afterNews(known('aa.2.5'), death('aa.2.4')), undefined)
  t.equal(afterNews(known('aa.2.5'), death('aa.1.9')), undefined)
  t.equal(afterNews(known('aa.2.5'), death('aa.2.5'))?.state, 'lost')
  t.equal(afterNews(known('aa.2.5'), death('aa.2.6'))?.state, 'lost', 'lost before its birth was told')
  t.equal(afterNews(known('aa.2.5'), death('bb.9.9')), undefined, 'of the log before this one')
  t.equal(afterNews(known('aa.2.5'), death('cc.1.1'))?.formerLog, 'aa', 'of a log that follows')
  t.equal(readNews('yes', undefined), undefined)
  t.equal(parseEpoch('zz.1.1'), undefined)
})

function willOf(topic: string, payload: string) {
  return { topic, payload: Buffer.from(payload), qos: 1 as const, retain: false, properties: undefined }
}

function deathOf(epoch: string) {
  const userProperties: [string, string][] = [
    ['x-b-state', 'lost'],
    ['x-b-epoch', epoch],
  ]
  return { ...willOf('$SYS/broker/connection/edge-old/state', '0'), retain: true, properties: { userProperties } }
}
