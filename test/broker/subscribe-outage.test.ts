/** SUBSCRIBE of clients with durable sessions while the store cannot be written. */
import t from 'tap'
import { PacketType, type Suback } from '../../src/protocol/packet.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import type { TestClient } from '../fakes/test-broker.ts'
import { ask, durable, isSubscribedToAOnly, world } from './outage-world.ts'

const suback = (client: TestClient) => client.take(PacketType.suback) as Suback | undefined

t.test('SUBACK waits for the store so long and then refuses, in both versions', async (t) => {
  for (const [version, refusal] of [
    [5, ReasonCode.quotaExceeded],
    [4, ReasonCode.unspecifiedError],
  ] as const) {
    const { broker, log, fail, recover } = await world()
    const client = broker.connect(durable('c', version))
    fail()
    ask(client, 7, 'a')
    broker.passMs(7000)
    t.equal(suback(client), undefined, 'it may still come to be stored')
    broker.passMs(2000)
    t.match(suback(client), { packetId: 7, reasonCodes: [refusal] })
    const line = 'changes of subscriptions refused, the store did not take them in time'
    t.strictSame(log.fieldsOf(line), [{ count: 1, waitMs: 8000 }])
    recover()
    t.equal(suback(client), undefined, 'answered once')
    const publisher = broker.connect({ clientId: 'p' })
    publisher.publish('a', 'x', { qos: 1 })
    t.strictSame(client.takePayloads(), [], 'what was refused is not there')
    ask(client, 8, 'a')
    t.match(suback(client), { packetId: 8, reasonCodes: [1] })
    publisher.publish('a', 'y', { qos: 1 })
    t.strictSame(client.takePayloads(), ['y'])
  }
})

t.test('what is stored in time is granted', async (t) => {
  const { broker, fail, recover } = await world()
  const client = broker.connect(durable('c'))
  fail()
  ask(client, 7, 'a')
  broker.passMs(5000)
  recover()
  t.match(suback(client), { reasonCodes: [1] })
  broker.passMs(20_000)
  t.equal(suback(client), undefined)
})

t.test('a client that comes back and asks for what it had is answered at once, and nothing is written', async (t) => {
  const { broker, fail } = await world()
  const client = broker.connect(durable('c'))
  ask(client, 7, 'a')
  client.drop()
  const back = broker.connect(durable('c'))
  fail()
  const { lastTicket } = broker.store
  ask(back, 8, 'a')
  t.match(suback(back), { packetId: 8, reasonCodes: [1] })
  t.equal(broker.store.lastTicket, lastTicket)
})

t.test('but not while what it had is not stored itself', async (t) => {
  const { broker, fail, recover } = await world()
  const client = broker.connect(durable('c'))
  fail()
  ask(client, 7, 'a')
  client.drop()
  const back = broker.connect(durable('c'))
  ask(back, 8, 'a')
  t.equal(suback(back), undefined)
  recover()
  t.match(suback(back), { packetId: 8 })
})

t.test('where a change is refused, the subscription stays what it was', async (t) => {
  const { broker, fail, recover } = await world()
  const client = broker.connect(durable('c'))
  ask(client, 7, 'a', 1)
  t.ok(suback(client))
  fail()
  ask(client, 8, 'a', 0)
  ask(client, 9, 'a', 2)
  ask(client, 10, 'b', 0)
  ask(client, 11, 'b', 1)
  broker.passMs(10_000)
  for (const packetId of [8, 9, 10, 11]) t.match(suback(client), { packetId, reasonCodes: [ReasonCode.quotaExceeded] })
  recover()
  isSubscribedToAOnly(t, broker, client)
})

t.test('what waited behind it leaves with the refusal', async (t) => {
  const { broker, fail } = await world()
  const client = broker.connect(durable('c'))
  fail()
  ask(client, 7, 'a', 0)
  client.publish('nobody', 'x', { qos: 1, packetId: 3 })
  t.equal(client.take(PacketType.puback), undefined)
  broker.passMs(10_000)
  t.match(suback(client), { packetId: 7 })
  t.match(client.take(PacketType.puback), { packetId: 3 })
})

t.test('a client whose session ends with its connection waits for nothing', async (t) => {
  const { broker, fail } = await world()
  broker.connect(durable('c'))
  fail()
  broker.connect(durable('d'))
  const client = broker.connect({ clientId: 'clean', version: 5 })
  ask(client, 7, 'a')
  t.match(suback(client), { packetId: 7, reasonCodes: [1] })
})
