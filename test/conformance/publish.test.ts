/** PUBLISH and its acknowledgements in both directions, statement by statement. */
import t from 'tap'
import type { Authorizer } from '../../src/ports/auth.ts'
import { type Ack, type Disconnect, PacketType, type Qos } from '../../src/protocol/packet.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { wire } from '../fixtures/wire.ts'

const versions = [4, 5] as const

const lasting = { version: 5 as const, cleanStart: false, properties: { sessionExpiryInterval: 600 } }

const forbidden: Authorizer = { mayPublish: (_principal, topic) => topic !== 'secret', maySubscribe: () => true }

function ack(client: TestClient, type: Ack['type'], packetId: number, reasonCode: ReasonCode = 0): void {
  client.send({ type, packetId, reasonCode, properties: undefined })
}

/** Sends a whole QoS 2 message. */
function publishTwice(client: TestClient, topic: string, payload: string, packetId = 1): void {
  client.publish(topic, payload, { qos: 2, packetId })
  ack(client, PacketType.pubrel, packetId)
  client.take(PacketType.pubrec)
  client.take(PacketType.pubcomp)
}

function publishes(client: TestClient): Publish[] {
  return client.takeAll().filter((packet) => packet instanceof Publish)
}

t.test(
  'PUBLISH of QoS 0 goes out without DUP and without a packet identifier [MQTT-2.2.1-2] [MQTT-4.3.1-1]',
  async (t) => {
    const broker = await TestBroker.start()
    for (const [version, bytes] of [
      [4, "30 04 0001'a' 'x'"],
      [5, "30 05 0001'a' 00 'x'"],
    ] as const) {
      const client = broker.connect({ clientId: 'c', version })
      client.subscribe('a', { qos: 2 })
      client.publish('a', 'x')
      t.same(client.link.take(), wire(bytes))
    }
  },
)

t.test(
  'PUBLISH is answered as its QoS has it, with its packet identifier [MQTT-3.3.4-1] [MQTT-2.2.1-5] [MQTT-4.3.3-8]',
  async (t) => {
    const broker = await TestBroker.start()
    for (const version of versions) {
      const client = broker.connect({ clientId: 'c', version })
      client.publish('a', 'x')
      t.same(client.takeAll(), [])
      client.publish('a', 'x', { qos: 1, packetId: 0x1234 })
      t.match(client.takeAll(), [{ type: PacketType.puback, packetId: 0x1234 }])
      client.publish('a', 'x', { qos: 2, packetId: 0xffff })
      t.match(client.takeAll(), [{ type: PacketType.pubrec, packetId: 0xffff }])
      ack(client, PacketType.pubrel, 0xffff)
      t.match(client.takeAll(), [{ type: PacketType.pubcomp, packetId: 0xffff }])
    }
  },
)

t.test(
  'after PUBACK or PUBCOMP a packet identifier stands for a new message [MQTT-4.3.2-5] [MQTT-4.3.3-12]',
  async (t) => {
    const broker = await TestBroker.start()
    const watcher = broker.connect({ clientId: 'w' })
    watcher.subscribe('a')
    const client = broker.connect({ clientId: 'c', version: 5 })
    client.publish('a', '1', { qos: 1, packetId: 7 })
    client.publish('a', '2', { qos: 1, packetId: 7, dup: true })
    publishTwice(client, 'a', '3', 7)
    publishTwice(client, 'a', '4', 7)
    t.same(watcher.takePayloads(), ['1', '2', '3', '4'])
  },
)

t.test('after a PUBREC that refuses, a packet identifier stands for a new message [MQTT-4.3.3-9]', async (t) => {
  const broker = await TestBroker.start({ authorizer: forbidden })
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('#')
  const client = broker.connect({ clientId: 'c', version: 5 })
  client.publish('secret', 'x', { qos: 2, packetId: 7 })
  t.match(client.take(PacketType.pubrec), { reasonCode: ReasonCode.notAuthorized })
  client.publish('open', 'y', { qos: 2, packetId: 7 })
  t.same(watcher.takePayloads(), ['y'])
})

t.test('expiry does not break the sequence of QoS 2 [MQTT-4.3.3-13]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5 })
  client.publish('a', 'x', { qos: 2, packetId: 7, properties: { messageExpiryInterval: 1 } })
  broker.passMs(5000)
  ack(client, PacketType.pubrel, 7)
  t.match(client.takeAll(), [{ type: PacketType.pubrec }, { type: PacketType.pubcomp, reasonCode: 0 }])
})

t.test(
  'a PUBLISH of 3.1.1 that is not allowed is acknowledged all the same, and goes nowhere [MQTT3-3.3.5-2]',
  async (t) => {
    const broker = await TestBroker.start({ authorizer: forbidden })
    const watcher = broker.connect({ clientId: 'w' })
    watcher.subscribe('#')
    const client = broker.connect({ clientId: 'c', version: 4 })
    client.publish('secret', 'x', { qos: 1, packetId: 3 })
    t.match(client.takeAll(), [{ type: PacketType.puback, packetId: 3 }])
    t.same(watcher.takePayloads(), [])
  },
)

t.test('DUP of an incoming message is not passed on [MQTT-3.3.1-3]', async (t) => {
  const broker = await TestBroker.start()
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('a', { qos: 1 })
  broker.connect({ clientId: 'c' }).publish('a', 'x', { qos: 1, dup: true })
  t.equal(watcher.takePublish().dup, false)
})

t.test(
  'new QoS 1 and 2 messages go out without DUP, each under a packet identifier that is not in use [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.3-1] [MQTT-4.3.3-2]',
  async (t) => {
    const broker = await TestBroker.start()
    const publisher = broker.connect({ clientId: 'p' })
    for (const version of versions) {
      const client = broker.connect({ clientId: 'c', version })
      client.subscribe('a', { qos: 2 })
      for (const qos of [1, 2, 1, 2] as Qos[]) {
        if (qos === 1) publisher.publish('a', 'x', { qos })
        else publishTwice(publisher, 'a', 'x')
      }
      const sent = publishes(client)
      t.same(
        sent.map(({ qos }) => qos),
        [1, 2, 1, 2],
      )
      t.ok(sent.every(({ dup }) => !dup))
      t.equal(new Set(sent.map(({ packetId }) => packetId)).size, 4)
    }
  },
)

t.test(
  'a message is unacknowledged until PUBACK or PUBREC, its release until PUBCOMP, and all come again in order [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-4.6.0-1]',
  async (t) => {
    const broker = await TestBroker.start()
    const publisher = broker.connect({ clientId: 'p' })
    const first = broker.connect({ clientId: 'c', ...lasting })
    first.subscribe('a', { qos: 2 })
    for (const [n, qos] of [1, 2, 1, 2].entries()) {
      if (qos === 1) publisher.publish('a', String(n), { qos })
      else publishTwice(publisher, 'a', String(n))
    }
    const [one, two, three, four] = publishes(first).map(({ packetId }) => packetId) as [number, number, number, number]
    ack(first, PacketType.puback, one)
    ack(first, PacketType.pubrec, two)
    t.match(first.take(PacketType.pubrel), { packetId: two })
    first.drop()
    const second = broker.open()
    second.connect({ clientId: 'c', ...lasting })
    const again = second.takeAll()
    t.match(again, [
      { type: PacketType.pubrel, packetId: two },
      { type: PacketType.publish, packetId: three, dup: true, qos: 1 },
      { type: PacketType.publish, packetId: four, dup: true, qos: 2 },
    ])
    t.equal(again.length, 3)
    ack(second, PacketType.pubcomp, two)
    ack(second, PacketType.puback, three)
    ack(second, PacketType.pubrec, four)
    ack(second, PacketType.pubcomp, four)
    second.drop()
    const third = broker.open()
    third.connect({ clientId: 'c', ...lasting })
    t.same(third.takeAll(), [])
  },
)

t.test('a message that was sent does not expire: it comes again [MQTT-4.3.3-7]', async (t) => {
  const broker = await TestBroker.start()
  const publisher = broker.connect({ clientId: 'p', version: 5 })
  const first = broker.connect({ clientId: 'c', ...lasting })
  first.subscribe('a', { qos: 2 })
  publisher.publish('a', 'x', { qos: 2, properties: { messageExpiryInterval: 1 } })
  ack(publisher, PacketType.pubrel, 1)
  t.equal(publishes(first).length, 1)
  first.drop()
  broker.passMs(5000)
  const second = broker.open()
  second.connect({ clientId: 'c', ...lasting })
  t.match(publishes(second), [{ dup: true, qos: 2 }])
})

t.test('a message that the client refuses is not sent again [MQTT-4.4.0-2]', async (t) => {
  const broker = await TestBroker.start()
  const publisher = broker.connect({ clientId: 'p' })
  const first = broker.connect({ clientId: 'c', ...lasting })
  first.subscribe('a', { qos: 2 })
  publisher.publish('a', '1', { qos: 1 })
  publishTwice(publisher, 'a', '2')
  const [one, two] = publishes(first).map(({ packetId }) => packetId) as [number, number]
  ack(first, PacketType.puback, one, ReasonCode.quotaExceeded)
  ack(first, PacketType.pubrec, two, ReasonCode.quotaExceeded)
  t.equal(first.take(PacketType.pubrel), undefined)
  first.drop()
  const second = broker.open()
  second.connect({ clientId: 'c', ...lasting })
  t.same(second.takeAll(), [])
})

t.test('PUBRELs go out in the order of the PUBRECs [MQTT-4.6.0-4]', async (t) => {
  const broker = await TestBroker.start()
  const publisher = broker.connect({ clientId: 'p' })
  const client = broker.connect({ clientId: 'c', ...lasting })
  client.subscribe('a', { qos: 2 })
  for (const payload of ['1', '2', '3']) publishTwice(publisher, 'a', payload)
  const order = publishes(client)
    .map(({ packetId }) => packetId)
    .reverse()
  client.sendBytes(Buffer.concat(order.map((packetId) => Buffer.from([0x50, 2, packetId >> 8, packetId & 0xff]))))
  t.same(
    client.takeAll().map((packet) => (packet as Ack).packetId),
    order,
  )
})

t.test('messages of one client and topic come in order, on whatever topic [MQTT-4.6.0-5] [MQTT-4.6.0-6]', async (t) => {
  const broker = await TestBroker.start()
  const publisher = broker.connect({ clientId: 'p' })
  const clients = [broker.connect({ clientId: 'c', version: 4 }), broker.connect({ clientId: 'd', ...lasting })]
  for (const client of clients) client.subscribe('+', { qos: 1 })
  const sent: string[] = []
  for (let n = 0; n < 8; n++) {
    publisher.publish(`t${n % 3}`, String(n), { qos: 1, packetId: n + 1 })
    sent.push(String(n))
  }
  for (const client of clients) t.same(client.takePayloads(), sent)
})

t.test('a message is added to every session that matches, there or away [MQTT-4.5.0-1] [MQTT3-3.1.2-5]', async (t) => {
  const broker = await TestBroker.start()
  const ids = ['a', 'b', 'c', 'd']
  for (const clientId of ids) broker.connect({ clientId, version: 4, cleanStart: false }).subscribe('t', { qos: 1 })
  broker.connect({ clientId: 'e', version: 4, cleanStart: false }).subscribe('other', { qos: 1 })
  const away = broker.open()
  away.connect({ clientId: 'b', version: 4, cleanStart: false })
  away.drop()
  broker.connect({ clientId: 'p' }).publish('t', 'x', { qos: 1 })
  for (const clientId of [...ids, 'e']) {
    const client = broker.open()
    client.connect({ clientId, version: 4, cleanStart: false })
    t.same(client.takePayloads(), clientId === 'e' ? [] : ['x'], clientId)
  }
})

t.test(
  'the send quota is the Receive Maximum of the client, and all else goes on without quota [MQTT-3.3.4-9] [MQTT-3.3.4-10] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-4.9.0-3]',
  async (t) => {
    const broker = await TestBroker.start()
    const publisher = broker.connect({ clientId: 'p' })
    const client = broker.connect({ clientId: 'c', version: 5, properties: { receiveMaximum: 2 } })
    client.subscribe('#', { qos: 2 })
    for (let n = 1; n <= 5; n++) publisher.publish('a', String(n), { qos: 1, packetId: n })
    publishTwice(publisher, 'a', '6', 9)
    t.same(client.takePayloads(), ['1', '2'])
    publisher.publish('a', 'QoS 0')
    t.same(client.takePayloads(), ['QoS 0'], 'which needs no quota')
    client.send({ type: PacketType.pingreq })
    t.ok(client.take(PacketType.pingresp))
    client.publish('b', 'own', { qos: 1, packetId: 77 })
    t.match(client.take(PacketType.puback), { packetId: 77 })
    t.same(client.subscribe('c', { qos: 1 }), [1])
    ack(client, PacketType.puback, 1)
    t.same(client.takePayloads(), ['3'])
  },
)

t.test('a message too large for the client counts as sent, and does not come again [MQTT-3.1.2-25]', async (t) => {
  const broker = await TestBroker.start()
  const publisher = broker.connect({ clientId: 'p' })
  const small = { ...lasting, properties: { ...lasting.properties, maximumPacketSize: 60, receiveMaximum: 1 } }
  const first = broker.connect({ clientId: 'c', ...small })
  first.subscribe('a', { qos: 1 })
  publisher.publish('a', 'x'.repeat(100), { qos: 1 })
  publisher.publish('a', 'fits', { qos: 1 })
  t.same(first.takePayloads(), ['fits'], 'the quota is not used up by it')
  first.drop()
  const second = broker.open()
  second.connect({ clientId: 'c', ...lasting })
  t.same(second.takePayloads(), ['fits'], 'not even to a client that takes more by now')
})

t.test(
  'an alias beyond the maximum, or where there is none, is refused with 0x94 [MQTT-3.2.2-17] [MQTT-3.2.2-18]',
  async (t) => {
    for (const topicAliasMaximum of [0, 3]) {
      const broker = await TestBroker.start({ settings: { topicAliasMaximum } })
      const client = broker.connect({ clientId: 'c', version: 5 })
      client.publish('a', 'x', { properties: { topicAlias: topicAliasMaximum + 1 } })
      t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.topicAliasInvalid)
    }
  },
)

t.test('only what matches a filter of the client is sent to it [MQTT-3.3.2-3]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c' })
  client.subscribe('a/+/c')
  client.subscribe('x/#')
  const publisher = broker.connect({ clientId: 'p' })
  for (const topic of ['a/b/c', 'a/b', 'a/b/c/d', 'A/b/c', 'x', 'x/y/z', 'xy']) publisher.publish(topic, topic)
  t.same(client.takePayloads(), ['a/b/c', 'x', 'x/y/z'])
})

t.test('a topic with a wildcard cannot be published to, in whichever version [MQTT-4.7.0-1]', async (t) => {
  const broker = await TestBroker.start()
  for (const version of versions) {
    for (const topic of ['a/#', '+']) {
      const client = broker.connect({ clientId: 'c', version })
      client.publish(topic, 'x')
      t.ok(client.link.isEnded, `${topic} in ${version}`)
    }
  }
})

t.test(
  'the properties of a message go on unaltered and in their order [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]',
  async (t) => {
    const broker = await TestBroker.start()
    const properties = {
      payloadFormatIndicator: 1 as const,
      contentType: 'text/plain',
      responseTopic: 'reply/to',
      correlationData: Buffer.from([0, 255, 1]),
      userProperties: [
        ['z', '1'],
        ['a', '2'],
        ['z', '1'],
        ['', ''],
      ] as [string, string][],
    }
    const clients = [broker.connect({ clientId: 'c', version: 5 }), broker.connect({ clientId: 'd', ...lasting })]
    for (const client of clients) client.subscribe('a', { qos: 1 })
    broker.connect({ clientId: 'p', version: 5 }).publish('a', 'x', { qos: 1, properties })
    for (const client of clients) {
      const sent = client.takePublish().properties
      for (const [name, value] of Object.entries(properties))
        t.strictSame(sent?.[name as keyof typeof sent], value, name)
    }
  },
)

t.test('one copy carries the identifiers of all subscriptions that match [MQTT-3.3.4-4]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5 })
  client.subscribe('a/#', { id: 1 })
  client.subscribe('a/+', { id: 200, qos: 1 })
  client.subscribe('a/b')
  client.subscribe('other', { id: 3 })
  broker.connect({ clientId: 'p' }).publish('a/b', 'x')
  const [only, ...others] = publishes(client)
  t.same(others, [])
  t.same([...(only?.properties?.subscriptionIdentifiers ?? [])].sort(), [1, 200])
})

t.test(
  'a retained message takes the place of the one before; without the flag nothing is retained or removed [MQTT-3.3.1-5] [MQTT-3.3.1-8]',
  async (t) => {
    for (const version of versions) {
      const broker = await TestBroker.start()
      const publisher = broker.connect({ clientId: 'p', version })
      const kept = () => {
        const late = broker.connect({ clientId: 'late', version })
        late.subscribe('a', { qos: 2 })
        return publishes(late).map(({ payload, qos }) => [payload.toString(), qos])
      }
      publisher.publish('a', 'passing')
      t.same(kept(), [])
      publisher.publish('a', 'one', { retain: true, qos: 1 })
      t.same(kept(), [['one', 1]])
      publisher.publish('a', 'passing')
      publisher.publish('a', '')
      t.same(kept(), [['one', 1]])
      publisher.publish('a', 'two', { retain: true })
      t.same(kept(), [['two', 0]])
    }
  },
)

t.test('retained messages do not end with the session that sent them [MQTT3-3.1.2-7]', async (t) => {
  const broker = await TestBroker.start()
  const publisher = broker.connect({ clientId: 'p', version: 4, cleanStart: true })
  publisher.publish('a', 'kept', { retain: true })
  publisher.disconnect()
  broker.passMs(10_000)
  const late = broker.connect({ clientId: 'late' })
  late.subscribe('a')
  t.same(late.takePayloads(), ['kept'])
})
