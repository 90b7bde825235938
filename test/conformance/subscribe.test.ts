/** SUBSCRIBE and UNSUBSCRIBE, statement by statement, in both versions. */
import t from 'tap'
import { PacketType, type Suback, type Unsuback } from '../../src/protocol/packet.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'

const versions = [4, 5] as const

type Asked = [topicFilter: string, qos: 0 | 1 | 2]

function subscribe(client: TestClient, packetId: number, asked: readonly Asked[]): Suback {
  const rest = { noLocal: false, retainAsPublished: false, retainHandling: 0 as const }
  const subscriptions = asked.map(([topicFilter, qos]) => ({ topicFilter, qos, ...rest }))
  client.send({ type: PacketType.subscribe, packetId, subscriptions, properties: undefined })
  return client.take(PacketType.suback) as Suback
}

function unsubscribe(client: TestClient, packetId: number, topicFilters: readonly string[]): Unsuback {
  client.send({ type: PacketType.unsubscribe, packetId, topicFilters, properties: undefined })
  return client.take(PacketType.unsuback) as Unsuback
}

t.test(
  'several filters are answered by one SUBACK of the same packet identifier, in their order, each with what was granted [MQTT-3.8.4-5] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-2.2.1-6]',
  async (t) => {
    const authorizer = { mayPublish: () => true, maySubscribe: (_: unknown, filter: string) => filter !== 'secret' }
    const broker = await TestBroker.start({ authorizer })
    for (const version of versions) {
      const client = broker.connect({ clientId: 'c', version })
      const suback = subscribe(client, 0xabcd, [
        ['a', 2],
        ['secret', 1],
        ['b/#', 0],
        ['+', 1],
      ])
      t.equal(suback.packetId, 0xabcd)
      const refused = version === 5 ? ReasonCode.notAuthorized : ReasonCode.unspecifiedError
      t.same(suback.reasonCodes, [2, refused, 0, 1])
      broker.connect({ clientId: 'p' }).publish('b/x', 'heard')
      t.same(client.takePayloads(), ['heard'])
    }
  },
)

t.test(
  'the same filter replaces the subscription, sends retained messages again and loses none [MQTT-3.8.4-3] [MQTT-3.8.4-4]',
  async (t) => {
    for (const version of versions) {
      const broker = await TestBroker.start()
      const publisher = broker.connect({ clientId: 'p' })
      publisher.publish('a', 'kept', { retain: true })
      const client = broker.connect({
        clientId: 'c',
        version,
        cleanStart: false,
        properties: { sessionExpiryInterval: 60 },
      })
      subscribe(client, 1, [['a', 0]])
      t.same(client.takePayloads(), ['kept'])
      publisher.publish('a', 'between', { qos: 1 })
      subscribe(client, 2, [['a', 1]])
      publisher.publish('a', 'after', { qos: 1 })
      const heard = client.takeAll().filter((packet) => packet instanceof Publish)
      const told = heard.map(({ payload, qos, retain }) => [payload.toString(), qos, retain])
      t.same(told.sort(), [
        ['after', 1, false],
        ['between', 0, false],
        ['kept', 0, true],
      ])
    }
  },
)

t.test(
  'several filters are taken back by one UNSUBACK, in their order, compared character by character [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-6] [MQTT-3.11.3-1]',
  async (t) => {
    const broker = await TestBroker.start()
    const publisher = broker.connect({ clientId: 'p' })
    for (const version of versions) {
      const client = broker.connect({ clientId: 'c', version })
      subscribe(client, 1, [
        ['a/b', 0],
        ['a/+', 0],
        ['x/#', 0],
        ['caf\u00e9', 0],
      ])
      const unsuback = unsubscribe(client, 0x0102, ['a/b', 'A/+', 'x', 'x/#', 'cafe\u0301'])
      t.equal(unsuback.packetId, 0x0102)
      const { success, noSubscriptionExisted } = ReasonCode
      if (version === 5) {
        t.same(unsuback.reasonCodes, [
          success,
          noSubscriptionExisted,
          noSubscriptionExisted,
          success,
          noSubscriptionExisted,
        ])
      }
      publisher.publish('x/1', 'unheard')
      publisher.publish('a/b', 'by the wildcard')
      publisher.publish('caf\u00e9', 'another spelling is another filter')
      t.same(client.takePayloads(), ['by the wildcard', 'another spelling is another filter'])
    }
  },
)

t.test('what was begun to be sent is completed after UNSUBSCRIBE [MQTT-3.10.4-3]', async (t) => {
  const broker = await TestBroker.start()
  const publisher = broker.connect({ clientId: 'p' })
  const lasting = { clientId: 'c', version: 5 as const, cleanStart: false, properties: { sessionExpiryInterval: 60 } }
  const client = broker.connect(lasting)
  subscribe(client, 1, [['a', 2]])
  publisher.publish('a', 'begun', { qos: 2, packetId: 5 })
  const { packetId } = client.takePublish()
  unsubscribe(client, 2, ['a'])
  publisher.publish('a', 'late', { qos: 1 })
  client.drop()
  const again = broker.open()
  again.connect(lasting)
  t.match(again.takePublish(), { packetId, dup: true, qos: 2 })
  again.send({ type: PacketType.pubrec, packetId, reasonCode: 0, properties: undefined })
  t.match(again.takeAll(), [{ type: PacketType.pubrel, packetId }])
})
