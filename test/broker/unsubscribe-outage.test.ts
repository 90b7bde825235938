/** UNSUBSCRIBE of clients with durable sessions while the store cannot be written. */
import t from 'tap'
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { PacketType, type Suback, type Unsuback } from '../../src/protocol/packet.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import type { TestClient } from '../fakes/test-broker.ts'
import { ask, durable, isSubscribedToAOnly, world } from './outage-world.ts'

function giveBack(client: TestClient, packetId: number, ...topicFilters: string[]): void {
  client.send({ type: PacketType.unsubscribe, packetId, topicFilters, properties: undefined })
}

const suback = (client: TestClient) => client.take(PacketType.suback) as Suback | undefined
const unsuback = (client: TestClient) => client.take(PacketType.unsuback) as Unsuback | undefined

t.test('UNSUBACK waits for the store so long and then refuses, and no message is missing', async (t) => {
  const { broker, log, fail, recover } = await world()
  const client = broker.connect(durable('c'))
  ask(client, 6, 'a')
  const publisher = broker.connect({ clientId: 'p' })
  fail()
  giveBack(client, 7, 'a', 'never')
  publisher.publish('a', 'meanwhile', { qos: 1 })
  broker.passMs(7000)
  t.equal(unsuback(client), undefined, 'it may still come to be stored')
  broker.passMs(2000)
  const reasonCodes = [ReasonCode.implementationSpecificError, ReasonCode.noSubscriptionExisted]
  t.match(unsuback(client), { packetId: 7, reasonCodes })
  const line = 'changes of subscriptions refused, the store did not take them in time'
  t.strictSame(log.fieldsOf(line), [{ count: 1, waitMs: 8000 }])
  recover()
  t.equal(unsuback(client), undefined, 'answered once')
  publisher.publish('a', 'later', { qos: 1 })
  t.strictSame(client.takePayloads(), ['meanwhile', 'later'])
  giveBack(client, 8, 'a')
  t.match(unsuback(client), { packetId: 8, reasonCodes: [ReasonCode.success] })
})

t.test('before 5.0 UNSUBACK cannot refuse: the connection ends, the session stays', async (t) => {
  const { broker, fail, recover } = await world()
  const client = broker.connect(durable('c', 4))
  ask(client, 6, 'a')
  const publisher = broker.connect({ clientId: 'p' })
  fail()
  giveBack(client, 7, 'a')
  ask(client, 8, 'b')
  publisher.publish('a', 'meanwhile', { qos: 1 })
  broker.passMs(7000)
  t.notOk(client.link.isEnded)
  broker.passMs(2000)
  t.ok(client.link.isEnded)
  t.equal(unsuback(client), undefined)
  t.match([suback(client), suback(client)], [{ reasonCodes: [1] }, { packetId: 8, reasonCodes: [0x80] }])
  client.drop()
  recover()
  const back = broker.open()
  t.match(back.connect(durable('c', 4)), { sessionPresent: true })
  publisher.publish('a', 'later', { qos: 1 })
  publisher.publish('b', 'refused', { qos: 1 })
  t.strictSame(back.takePayloads(), ['meanwhile', 'later'])
})

t.test('what is stored in time is given back, also after a restart', async (t) => {
  const disk = new MemoryDisk()
  const { broker, fail, recover } = await world(disk)
  const client = broker.connect(durable('c'))
  ask(client, 6, 'a')
  ask(client, 7, 'b')
  fail()
  giveBack(client, 8, 'a')
  broker.passMs(5000)
  recover()
  t.match(unsuback(client), { reasonCodes: [ReasonCode.success] })
  broker.passMs(20_000)
  t.equal(unsuback(client), undefined)
  const { broker: next } = await world(disk)
  const publisher = next.connect({ clientId: 'p' })
  publisher.publish('a', 'not wanted', { qos: 1 })
  publisher.publish('b', 'kept', { qos: 1 })
  t.strictSame(next.connect(durable('c')).takePayloads(), ['kept'])
})

t.test('a client that goes before the answer has given its subscription back', async (t) => {
  const { broker, fail, recover } = await world()
  const client = broker.connect(durable('c'))
  ask(client, 6, 'a')
  fail()
  giveBack(client, 7, 'a')
  client.drop()
  broker.passMs(20_000)
  recover()
  broker.connect({ clientId: 'p' }).publish('a', 'not wanted', { qos: 1 })
  t.strictSame(broker.connect(durable('c')).takePayloads(), [])
})

t.test('whatever was asked for in which order, a refusal leaves what was there before', async (t) => {
  const { broker, fail, recover } = await world()
  const client = broker.connect(durable('c'))
  ask(client, 5, 'a', 1)
  suback(client)
  fail()
  giveBack(client, 6, 'a')
  giveBack(client, 7, 'a')
  ask(client, 8, 'a', 0)
  ask(client, 9, 'b', 1)
  giveBack(client, 10, 'b')
  broker.passMs(10_000)
  const refusals = [unsuback(client), unsuback(client), unsuback(client)].map((packet) => packet?.reasonCodes[0])
  t.strictSame(refusals, [
    ReasonCode.implementationSpecificError,
    ReasonCode.noSubscriptionExisted,
    ReasonCode.implementationSpecificError,
  ])
  t.match([suback(client), suback(client)], [{ packetId: 8 }, { packetId: 9 }])
  recover()
  isSubscribedToAOnly(t, broker, client)
})

t.test('a client that subscribes anew while its answer waits is subscribed, as if for the first time', async (t) => {
  const { broker, fail, recover } = await world()
  const publisher = broker.connect({ clientId: 'p' })
  publisher.publish('a', 'retained', { qos: 1, retain: true })
  const client = broker.connect(durable('c'))
  const anew = { topicFilter: 'a', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 1 } as const
  ask(client, 5, 'a')
  t.strictSame(client.takePayloads(), ['retained'])
  fail()
  giveBack(client, 6, 'a')
  client.send({ type: PacketType.subscribe, packetId: 7, subscriptions: [anew], properties: undefined })
  recover()
  t.strictSame(client.takePayloads(), ['retained'])
  publisher.publish('a', 'x', { qos: 1 })
  t.strictSame(client.takePayloads(), ['x'])
})

t.test('what waits for a group is still there when its last member could not leave', async (t) => {
  const { broker, fail, recover } = await world()
  const client = broker.connect(durable('c'))
  ask(client, 5, '$share/g/a')
  const publisher = broker.connect({ clientId: 'p' })
  fail()
  publisher.publish('a', 'first', { qos: 1 })
  giveBack(client, 6, '$share/g/a')
  publisher.publish('a', 'second', { qos: 1, packetId: 2 })
  broker.passMs(10_000)
  t.match(unsuback(client), { reasonCodes: [ReasonCode.implementationSpecificError] })
  recover()
  t.strictSame(client.takePayloads(), ['first', 'second'])
})

t.test('a client whose session ends with its connection waits for nothing', async (t) => {
  const { broker, fail } = await world()
  ask(broker.connect(durable('d')), 5, 'b')
  const client = broker.connect({ clientId: 'clean' })
  ask(client, 6, 'a')
  t.ok(suback(client))
  fail()
  client.publish('b', 'x', { qos: 1 })
  giveBack(client, 7, 'a')
  t.ok(unsuback(client))
  broker.connect({ clientId: 'p' }).publish('a', 'not wanted')
  broker.passMs(20_000)
  t.notOk(client.link.isEnded)
  t.strictSame(client.takeAll(), [], 'no PUBACK either')
})
