/** What bridges of others got wrong, each under the number it has there; more of them stand beside their subjects. */
import t from 'tap'
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { Lane } from '../../src/ports/lane.ts'
import { type Ack, type AckType, PacketType } from '../../src/protocol/packet.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { PlayedBroker } from '../fakes/played-broker.ts'
import { roomyLane, type TestBroker } from '../fakes/test-broker.ts'
import { Collector, durable, everything, gated, noting, numbers, publishMany, World } from './world.ts'

/** A gateway that is online, without a reader above. */
async function online(options: Parameters<typeof World.make>[0] = {}): Promise<World> {
  const world = await World.make(options)
  world.passMs(1000)
  return world
}

function goOffline(world: World): void {
  world.wire.acceptor = undefined
  world.wire.cut()
}

function comeBack(world: World): void {
  world.wire.acceptor = world.cloud.broker
  world.passMs(30_000)
}

/** What a client that comes now is told of `topic`. */
function retained(broker: TestBroker, topic: string): Publish | undefined {
  const client = broker.connect({ clientId: `late ${topic}`, version: 5 })
  client.subscribe(topic)
  const message = client.take(PacketType.publish)
  client.disconnect()
  return message as Publish | undefined
}

t.test('nanomq#1980: while a backlog of 2000 goes out, what is urgent takes less than twice its time', async (t) => {
  const laneRules = [{ topicFilter: 'ctl/#', lane: Lane.control }]
  const world = await online({ edge: { laneRules }, delayMs: 5, cloud: { inflightMax: 100 } })
  const reader = world.cloud.connect(durable('reader'))
  reader.subscribe('g/gw1/ctl/#', { qos: 1 })
  const device = world.edge.connect({ clientId: 'd' })
  /** How long it took to the reader. */
  const takesMs = () => {
    device.publish('ctl/door', 'open', { qos: 1, packetId: 9 })
    const sentAtMs = world.clock.nowMs()
    while (reader.takePayloads().length === 0) world.clock.advanceMs(1)
    return world.clock.nowMs() - sentAtMs
  }
  const idleMs = takesMs()
  world.passMs(100)
  goOffline(world)
  publishMany(device, 1, 2000)
  t.equal(world.bridge.status.backlogCount, 2000)
  world.wire.acceptor = world.cloud.broker
  while (world.bridge.status.backlogCount > 1800) world.clock.advanceMs(10)
  const startedAtMs = world.clock.nowMs()
  for (let n = 0; n < 6; n++) {
    const ms = takesMs()
    t.ok(ms < 2 * idleMs, `${ms} ms, ${idleMs} without a backlog`)
    world.passMs(100)
  }
  const seconds = (world.clock.nowMs() - startedAtMs) / 1000
  const perSecond = (1800 - world.bridge.status.backlogCount) / seconds
  t.ok(perSecond >= 500, `${Math.round(perSecond)} messages per second meanwhile`)
})

t.test('mosquitto#2256: a queue that came to its limit of bytes goes out when the line is back', async (t) => {
  for (const whenFull of ['drop_oldest', 'drop_newest', 'refuse'] as const) {
    const laneLimits = [roomyLane, { ...roomyLane, bytesMax: 1000, whenFull }, roomyLane, roomyLane]
    const taken: string[] = []
    const world = await online({ edge: { laneLimits }, cloudStore: noting(taken) })
    world.cloud.connect(durable('reader')).subscribe('g/#', { qos: 1 })
    goOffline(world)
    const device = world.edge.connect({ clientId: 'd', version: 5 })
    let takenCount = 0
    for (let n = 1; n <= 300; n++) {
      device.publish('temp', String(n), { qos: 1, packetId: n })
      world.passMs(50)
      const puback = device.take(PacketType.puback) as Ack
      if (puback.reasonCode === ReasonCode.success) takenCount++
    }
    world.passMs(2000)
    const waiting = world.bridge.status.backlogCount
    t.ok(waiting > 10 && waiting < 300, `${whenFull}: ${waiting} wait`)
    t.equal(takenCount < 300, whenFull === 'refuse')
    comeBack(world)
    t.equal(world.bridge.status.backlogCount, 0)
    const first = whenFull === 'drop_oldest' ? 301 - waiting : 1
    t.same(taken, numbers(first, first + waiting - 1), 'what waited, in order')
    publishMany(world.edge.connect({ clientId: 'd' }), 301, 310)
    world.passMs(2000)
    t.same(taken.slice(waiting), numbers(301, 310), 'and it takes more')
    t.notOk(world.cloudGaps.some(({ isUnexplained }) => isUnexplained))
  }
})

t.test('mosquitto#1464, hivemq-ce#616: expiry counts down over restarts, retained included', async (t) => {
  const world = await online()
  const reader = world.cloud.connect(durable('reader'))
  reader.subscribe('g/gw1/temp', { qos: 1 })
  goOffline(world)
  const device = world.edge.connect({ clientId: 'd', version: 5 })
  const properties = { messageExpiryInterval: 100 }
  device.publish('temp', 'x', { qos: 1, properties })
  device.publish('state', 'on', { qos: 1, retain: true, packetId: 2, properties })
  world.passMs(30_000)
  await world.crashEdge()
  world.wire.acceptor = undefined
  world.passMs(10_000)
  t.equal(retained(world.edge, 'state')?.properties?.messageExpiryInterval, 60, 'below, after a restart')
  world.wire.acceptor = world.cloud.broker
  world.passMs(15_000)
  const left = reader.takePublish().properties?.messageExpiryInterval ?? 0
  t.ok(left > 40 && left <= 60, `${left} of 100 s left of a message that waited`)
  await world.crashCloud()
  const keptSeconds = retained(world.cloud, 'g/gw1/state')?.properties?.messageExpiryInterval ?? 0
  t.ok(keptSeconds > 40 && keptSeconds <= 46, `${keptSeconds} of 100 s left above, after a restart there`)
  world.passMs(46_000)
  t.equal(retained(world.cloud, 'g/gw1/state'), undefined, 'over, above')
  t.equal(retained(world.edge, 'state'), undefined, 'and below')
})

t.test('iotedge#1865: a quota error of the cloud harms no producer, and the bridge backs off', async (t) => {
  const gate = { isWritable: true }
  const world = await online({ cloudStore: (store) => gated(store, gate) })
  const collector = new Collector(world.cloud, 'g/#')
  const device = world.edge.connect({ clientId: 'd', version: 5 })
  gate.isWritable = false
  const attempts = world.cloud.broker.counters.connectAccepted
  let takenCount = 0
  for (let n = 1; n <= 120; n++) {
    device.publish('temp', String(n), { qos: 1, packetId: n })
    world.passMs(500)
    const puback = device.take(PacketType.puback) as Ack
    if (puback.reasonCode === ReasonCode.success) takenCount++
  }
  t.equal(takenCount, 120, 'the producer is acknowledged as ever')
  t.notOk(device.link.isDestroyed || device.link.isEnded, 'the producer stays')
  const again = world.cloud.broker.counters.connectAccepted - attempts
  t.ok(again >= 3 && again <= 15, `${again} attempts in a minute, with pauses of up to ten seconds`)
  t.same(collector.collect().payloads, [])
  t.equal(world.bridge.status.rejectedCount, 0)
  gate.isWritable = true
  world.passMs(30_000)
  t.same(collector.collect().payloads, numbers(1, 120))
})

t.test('thingsboard-gateway: what grows too old goes again and again, not only once', async (t) => {
  const laneLimits = [roomyLane, { ...roomyLane, ageMsMax: 60_000 }, roomyLane, roomyLane]
  const world = await online({ edge: { laneLimits } })
  const collector = new Collector(world.cloud, 'g/#')
  goOffline(world)
  const device = world.edge.connect({ clientId: 'd' })
  const counts: number[] = []
  for (let n = 1; n <= 120; n++) {
    publishMany(device, n, n)
    world.passMs(5000)
    if (n >= 12) counts.push(world.bridge.status.backlogCount)
  }
  t.ok(Math.max(...counts) <= 13 && Math.min(...counts) >= 11, `a minute of them waits: ${new Set(counts).size} counts`)
  comeBack(world)
  const lost = world.edge.broker.losses.records.filter(({ reason }) => reason === 'backlog_full')
  const lostCount = lost.reduce((total, record) => total + (record.count ?? 1), 0)
  const { payloads } = collector.collect()
  t.same(payloads, numbers(lostCount + 1, 120), 'the rest came, and the ledger knows how many did not')
})

t.test(
  'nanomq#1944: a gateway reads its own retained state after a restart, although it asks with No Local',
  async (t) => {
    const state = { ...everything, filter: 'state/#' }
    const world = await online({ out: [state], in: [state] })
    world.edge.connect({ clientId: 'd' }).publish('state/mode', 'eco', { qos: 1, retain: true })
    world.passMs(1000)
    await world.crashEdge()
    t.equal(retained(world.edge, 'state/mode')?.payload.toString(), 'eco', 'its own store has it')
    world.passMs(10_000)
    world.edgeDisk = new MemoryDisk()
    world.memory.filters = new Map()
    await world.crashEdge()
    t.equal(retained(world.edge, 'state/mode'), undefined, 'a new disk has not')
    world.passMs(30_000)
    t.equal(retained(world.edge, 'state/mode')?.payload.toString(), 'eco', 'and the cloud gives it back')
  },
)

t.test('thin-edge PR#4213: what goes out waits for SUBACK, not for ever, and in order', async (t) => {
  let remote!: PlayedBroker
  const dialer = (clock: World['clock']) => {
    remote = new PlayedBroker('tcp://h:1', clock)
    return remote
  }
  const world = await World.make({ dialer, in: [{ ...everything, filter: 'cmd/#' }] })
  publishMany(world.edge.connect({ clientId: 'd' }), 1, 3)
  world.passMs(100)
  remote.connack()
  world.passMs(1000)
  publishMany(world.edge.connect({ clientId: 'd' }), 4, 6)
  world.passMs(1000)
  t.ok(remote.take(PacketType.subscribe))
  t.equal(remote.take(PacketType.publish), undefined, 'an answer to it could not come back')
  world.passMs(20_000)
  t.ok(remote.links.length > 1, 'a broker that does not answer is not waited for')
  const linkCount = remote.links.length
  while (remote.links.length === linkCount) world.passMs(50)
  world.passMs(50)
  remote.connack()
  world.passMs(50)
  t.same(remote.suback(), ['cmd/#'])
  world.passMs(50)
  const sent: string[] = []
  for (let n = 0; n < 7; n++) {
    const message = remote.take(PacketType.publish)
    if (message instanceof Publish && !message.topic.startsWith('$')) sent.push(message.payload.toString())
  }
  t.same(sent, numbers(1, 6))
})

t.test('a QoS 2 packet id that the remote broker has forgotten after a restart is no refused message', async (t) => {
  let remote!: PlayedBroker
  const dialer = (clock: World['clock']) => {
    remote = new PlayedBroker('tcp://h:1', clock)
    return remote
  }
  const answer = (type: AckType, packetId: number, reasonCode: ReasonCode = ReasonCode.success) => {
    remote.send({ type, packetId, reasonCode, properties: undefined })
    world.passMs(50)
  }
  const world = await World.make({ dialer, out: [{ ...everything, qos: 2 }] })
  world.passMs(50)
  remote.connack()
  world.passMs(50)
  world.edge.connect({ clientId: 'd' }).publish('temp', 'x', { qos: 2 })
  world.passMs(50)
  let sent = remote.take(PacketType.publish) as Publish
  while (sent.topic !== 'temp') sent = remote.take(PacketType.publish) as Publish
  answer(PacketType.pubrec, sent.packetId)
  t.match(remote.take(PacketType.pubrel), { packetId: sent.packetId })
  await world.crashEdge()
  world.passMs(50)
  remote.connack({ sessionPresent: true })
  world.passMs(50)
  const again = (remote.take(PacketType.pubrel) ?? remote.take(PacketType.publish)) as { packetId: number }
  t.equal(again.packetId, sent.packetId)
  answer(PacketType.pubcomp, sent.packetId, ReasonCode.packetIdentifierNotFound)
  t.match(world.bridge.status, { rejectedCount: 0, backlogCount: 0, state: 'online' })
  t.same(world.edge.broker.losses.records, [])
})

t.test('the wall clock of a gateway goes from 1970 to 2026: nothing fires, expires or is cut by that', async (t) => {
  const world = await World.make()
  world.clock.wallOffsetMs = 0
  const reader = world.cloud.connect(durable('reader'))
  reader.subscribe('g/#', { qos: 1 })
  world.passMs(1000)
  const device = world.edge.connect({ clientId: 'd', version: 5 })
  device.publish('$delayed/60/later', 'due', { qos: 1 })
  goOffline(world)
  device.publish('temp', 'x', { qos: 1, packetId: 2, properties: { messageExpiryInterval: 100 } })
  world.passMs(10_000)
  const accepted = world.cloud.broker.counters.connectAccepted
  world.clock.wallOffsetMs = Date.UTC(2026, 5, 1)
  world.wire.acceptor = world.cloud.broker
  world.passMs(20_000)
  const message = reader.takePublish()
  const left = message.properties?.messageExpiryInterval ?? 0
  t.ok(left >= 70 && left <= 90, `${left} of 100 s left`)
  t.equal(reader.take(PacketType.publish), undefined, 'the delayed one is not due')
  world.passMs(40_000)
  t.match(reader.takePayloads(), ['due'], 'and comes in its time')
  t.equal(world.cloud.broker.counters.connectAccepted - accepted, 1, 'one connection, which holds')
})
