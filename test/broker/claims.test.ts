/** CONNECT, SUBSCRIBE and takeover where the store answers later, as one does that several brokers share. */
import t from 'tap'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { must } from '../../src/lib/assert.ts'
import type { SessionRecord } from '../../src/ports/store.ts'
import { type Connack, type Connect, type Disconnect, PacketType } from '../../src/protocol/packet.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { OneOfSeveral } from '../fakes/one-of-several.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

async function world(): Promise<{ broker: TestBroker; several: OneOfSeveral }> {
  const clock = new VirtualClock()
  const several = new OneOfSeveral(new MemoryStore({ clock, random: new SeededRandom(1) }))
  return { broker: await TestBroker.start({ clock, store: several.store }), several }
}

const durable = (clientId: string): Partial<Connect> & { clientId: string } => ({
  clientId,
  version: 5,
  cleanStart: false,
  properties: { sessionExpiryInterval: 60 },
})

t.test('CONNECT waits for the answer to the claim, and so does what was sent behind it', async (t) => {
  const { broker, several } = await world()
  const client = broker.connect(durable('c'))
  client.subscribe('a')
  t.same(client.takeAll(), [])
  t.ok(client.link.isPaused)
  must(several.claims[0], 'a claim').grant()
  broker.settle()
  t.same(
    client.takeAll().map(({ type }) => type),
    [PacketType.connack, PacketType.suback],
  )
  t.notOk(client.link.isPaused)
})

t.test('a claim that is not granted refuses the client with 0x88, and the session here stays as it is', async (t) => {
  const { broker, several } = await world()
  const first = broker.connect(durable('c'))
  must(several.claims[0], 'a claim').grant()
  const second = broker.connect(durable('c'))
  must(several.claims[1], 'a claim').refuse()
  broker.settle()
  t.equal((second.take(PacketType.connack) as Connack).reasonCode, ReasonCode.serverUnavailable)
  t.ok(second.link.isEnded)
  t.equal((first.take(PacketType.connack) as Connack).reasonCode, ReasonCode.success)
  t.notOk(first.link.isEnded)
  const old = broker.connect({ clientId: 'c', version: 4 })
  must(several.claims[2], 'a claim').refuse()
  broker.settle()
  t.equal((old.take(PacketType.connack) as Connack).reasonCode, ReasonCode.serverUnavailable, '3 in 3.1.1')
})

t.test('the old connection is served until the claim of the new one is granted, and then told 0x8E', async (t) => {
  const { broker, several } = await world()
  const first = broker.connect(durable('c'))
  must(several.claims[0], 'a claim').grant()
  first.subscribe('a')
  const second = broker.connect(durable('c'))
  first.publish('a', 'still here')
  t.same(first.takePayloads(), ['still here'])
  must(several.claims[1], 'a claim').grant()
  broker.settle()
  t.equal((first.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.sessionTakenOver)
  t.equal((second.take(PacketType.connack) as Connack).sessionPresent, true)
})

t.test('of two that claim at once the later one gets the session, in whatever order they are answered', async (t) => {
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    const { broker, several } = await world()
    const clients = [broker.connect(durable('c')), broker.connect(durable('c'))] as const
    for (const index of order) must(several.claims[index], 'a claim').grant()
    broker.settle()
    t.equal((clients[1].take(PacketType.connack) as Connack).reasonCode, ReasonCode.success)
    t.notOk(clients[1].link.isEnded)
    t.ok(clients[0].link.isEnded)
    t.equal(broker.broker.counters.sessionCount, 1)
  }
})

t.test('a client that left before the answer leaves no claim behind', async (t) => {
  const { broker, several } = await world()
  const client = broker.connect({ clientId: 'gone', version: 5 })
  client.drop()
  must(several.claims[0], 'a claim').grant()
  t.same(several.released, ['gone'])
  t.equal(broker.broker.counters.sessionCount, 0)
  broker.connect({ clientId: 'late', version: 5 })
  broker.passMs(20_000)
  must(several.claims[1], 'a claim').grant()
  t.same(several.released, ['gone', 'late'], 'nor one that waited too long')
})

t.test('a session that its client claimed in vain can still be written', async (t) => {
  const { broker, several } = await world()
  const first = broker.connect(durable('c'))
  must(several.claims[0], 'a claim').grant()
  broker.connect(durable('c')).drop()
  must(several.claims[1], 'a claim').grant()
  first.subscribe('kept', { qos: 1 })
  broker.settle()
  const after = await TestBroker.start({ clock: broker.clock, store: several.store })
  t.equal(after.broker.counters.sessionCount, 1)
  t.equal(after.broker.onHandOver('c')?.record.subscriptions[0]?.topicFilter, 'kept')
})

t.test('SUBACK waits until messages that are published elsewhere come as well', async (t) => {
  const { broker, several } = await world()
  const client = broker.connect({ clientId: 'c' })
  must(several.claims[0], 'a claim').grant()
  const heard: string[] = []
  client.subscribe('a/+')
  client.subscribe('$share/g/b')
  t.strictSame([...several.followed.keys()], ['a/+', 'b'])
  client.link.deliver(Buffer.from([0x82, 6, 0, 7, 0, 1, 0x63, 0]))
  heard.push(...client.takeAll().map(({ type }) => String(type)))
  t.notOk(heard.includes(String(PacketType.suback)), 'not inside the turn')
  broker.settle()
  t.ok(client.take(PacketType.suback))
  client.subscribe('a/+')
  t.equal(several.followed.get('a/+'), 1, 'once for each subscription')
  client.drop()
  t.same([...several.followed.keys()], [], 'and taken back with the session')
})

t.test('a session goes over to another broker with all that belongs to it, and comes back', async (t) => {
  const { broker, several } = await world()
  const client = broker.connect({
    ...durable('c'),
    will: { topic: 'will', payload: Buffer.from('dead'), qos: 0, retain: false, properties: { willDelayInterval: 30 } },
  })
  must(several.claims[0], 'a claim').grant()
  client.subscribe('a', { qos: 1 })
  client.publish('b', 'half', { qos: 2, packetId: 9 })
  const handed = must(broker.broker.onHandOver('c'), 'what is handed over')
  broker.settle()
  t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.sessionTakenOver)
  t.equal(broker.broker.counters.sessionCount, 0)
  t.same([...several.followed.keys()], [])
  t.strictSame(handed.inbox, [9])
  t.equal(handed.record.will?.delaySeconds, 30, 'its will waits there')
  t.equal(broker.broker.onHandOver('c'), undefined, 'once')

  const record: SessionRecord = { ...handed.record, epoch: 7 }
  const back = broker.connect(durable('c'))
  must(several.claims[1], 'a claim').grant(record)
  broker.settle()
  t.equal((back.take(PacketType.connack) as Connack).sessionPresent, true)
  back.publish('a', 'again')
  t.same(back.takePayloads(), ['again'], 'its subscriptions are here again')
  t.equal(broker.broker.onHandOver('c')?.record.epoch, 8)
})

t.test('of a session that ends with its connection nothing is handed over', async (t) => {
  const { broker, several } = await world()
  const client = broker.connect({ clientId: 'c', version: 5 })
  must(several.claims[0], 'a claim').grant()
  t.equal(broker.broker.onHandOver('c'), undefined)
  t.ok(client.link.isEnded)
  t.equal(broker.broker.counters.sessionCount, 0)
})
