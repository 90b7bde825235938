/** Topic aliases towards a client, and those it sets itself. */
import t from 'tap'
import { type Disconnect, PacketType } from '../../src/protocol/packet.ts'
import type { Publish } from '../../src/protocol/packets/publish.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'

const aliases = (maximum: number) => ({ version: 5 as const, properties: { topicAliasMaximum: maximum } })

/** Topic and alias of every PUBLISH that came. */
function heard(client: TestClient): [topic: string, alias: number | undefined][] {
  return (client.takeAll() as Publish[]).map((publish) => [publish.topic, publish.properties?.topicAlias])
}

t.test('a topic goes out in full once, and as its alias from then on [MQTT-3.3.2-12]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', ...aliases(10) })
  client.subscribe('room/#', { qos: 1 })
  const publisher = broker.connect({ clientId: 'p' })
  publisher.publish('room/1', 'a')
  publisher.publish('room/1', 'b', { qos: 1 })
  publisher.publish('room/2', 'c')
  publisher.publish('room/1', 'd', { retain: true })
  t.same(heard(client), [
    ['room/1', 1],
    ['', 1],
    ['room/2', 2],
    ['', 1],
  ])
})

t.test('no alias is beyond what the client allows, and beyond ours [MQTT-3.1.2-26] [MQTT-3.3.2-11]', async (t) => {
  const broker = await TestBroker.start()
  const few = broker.connect({ clientId: 'few', ...aliases(2) })
  const many = broker.connect({ clientId: 'many', ...aliases(65_535) })
  few.subscribe('room/+')
  many.subscribe('room/+')
  const publisher = broker.connect({ clientId: 'p' })
  for (let n = 1; n <= 6; n++) publisher.publish(`room/${n}`, 'x')
  const aliasesOf = (client: TestClient) => heard(client).map(([, alias]) => alias)
  t.same(aliasesOf(few), [1, 2, undefined, undefined, undefined, undefined])
  t.same(aliasesOf(many), [1, 2, 3, 4, undefined, undefined], 'topic_alias_maximum is 4 here')
})

t.test('a client that says nothing of aliases, or none, gets none [MQTT-3.1.2-27]', async (t) => {
  const broker = await TestBroker.start()
  const clients = [
    broker.connect({ clientId: 'silent', version: 5 }),
    broker.connect({ clientId: 'none', ...aliases(0) }),
    broker.connect({ clientId: 'older', version: 4 }),
  ]
  for (const client of clients) client.subscribe('room/1')
  const publisher = broker.connect({ clientId: 'p' })
  publisher.publish('room/1', 'a')
  publisher.publish('room/1', 'b')
  for (const client of clients) {
    t.same(heard(client), [
      ['room/1', undefined],
      ['room/1', undefined],
    ])
  }
})

t.test('a fan-out to clients with and without aliases gives each its own', async (t) => {
  const broker = await TestBroker.start()
  const clients = Array.from({ length: 6 }, (_, n) => {
    const client = broker.connect({ clientId: `c${n}`, ...aliases(n % 2) })
    client.subscribe('room/1', { qos: 1 })
    return client
  })
  const publisher = broker.connect({ clientId: 'p' })
  for (const payload of ['a', 'b']) publisher.publish('room/1', payload, { qos: 1 })
  for (const [n, client] of clients.entries()) {
    const [first, second] = heard(client)
    t.same(first, ['room/1', n % 2 === 0 ? undefined : 1])
    t.same(second, n % 2 === 0 ? ['room/1', undefined] : ['', 1])
  }
})

t.test('a message that was too large to send teaches no alias', async (t) => {
  const broker = await TestBroker.start()
  const properties = { topicAliasMaximum: 5, maximumPacketSize: 60 }
  const client = broker.connect({ clientId: 'c', version: 5, properties })
  client.subscribe('room/1')
  const publisher = broker.connect({ clientId: 'p' })
  publisher.publish('room/1', 'x'.repeat(80))
  publisher.publish('room/1', 'small')
  t.same(heard(client), [['room/1', 1]])
})

t.test('aliases of both directions end with the connection [MQTT-3.3.2-7]', async (t) => {
  const broker = await TestBroker.start()
  const session = { clientId: 'c', version: 5 as const, cleanStart: false }
  const properties = { topicAliasMaximum: 5, sessionExpiryInterval: 60 }
  const first = broker.connect({ ...session, properties })
  first.subscribe('room/1', { qos: 1 })
  const publisher = broker.connect({ clientId: 'p' })
  publisher.publish('room/1', 'a', { qos: 1 })
  t.same(heard(first), [['room/1', 1]])
  first.publish('own/topic', 'x', { properties: { topicAlias: 1 } })
  first.drop()
  const second = broker.open()
  second.connect({ ...session, properties })
  t.same(heard(second), [['room/1', 1]], 'the topic is told again')
  second.publish('', 'x', { properties: { topicAlias: 1 } })
  t.equal((second.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.protocolError)
})

t.test('an alias that comes with a QoS 2 message sent again is learnt as well', async (t) => {
  const broker = await TestBroker.start()
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('room/1')
  const session = { clientId: 'c', version: 5 as const, cleanStart: false, properties: { sessionExpiryInterval: 60 } }
  const first = broker.connect(session)
  first.publish('room/1', 'a', { qos: 2, packetId: 7 })
  first.drop()
  const second = broker.open()
  second.connect(session)
  second.publish('room/1', 'a', { qos: 2, packetId: 7, dup: true, properties: { topicAlias: 3 } })
  second.publish('', 'b', { properties: { topicAlias: 3 } })
  t.same(watcher.takePayloads(), ['a', 'b'])
})

t.test('every alias from 1 to Topic Alias Maximum is accepted, the next one is not [MQTT-3.3.2-9]', async (t) => {
  const broker = await TestBroker.start()
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('room/+')
  const client = broker.connect({ clientId: 'c', version: 5 })
  for (let alias = 1; alias <= 4; alias++) {
    client.publish(`room/${alias}`, 'told', { properties: { topicAlias: alias } })
    client.publish('', `by ${alias}`, { properties: { topicAlias: alias } })
  }
  t.same(watcher.takePayloads(), ['told', 'by 1', 'told', 'by 2', 'told', 'by 3', 'told', 'by 4'])
  client.publish('room/5', 'x', { properties: { topicAlias: 5 } })
  t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.topicAliasInvalid)
})
