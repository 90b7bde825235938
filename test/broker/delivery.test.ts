/** Messages through the broker: QoS, sessions, order, and what happens when there is no room. */
import t from 'tap'
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { OutputBuffer } from '../../src/protocol/output.ts'
import { type Ack, type Connect, type Disconnect, PacketType } from '../../src/protocol/packet.ts'
import { encodePublish, Publish } from '../../src/protocol/packets/publish.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const durable = (clientId: string): Connect & { clientId: string } =>
  ({ clientId, version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } }) as Connect

function pubrel(client: TestClient, packetId: number): void {
  client.send({ type: PacketType.pubrel, packetId, reasonCode: ReasonCode.success, properties: undefined })
}

t.test('QoS of a delivery is the lower of publisher and subscription [MQTT-3.8.4-8]', async (t) => {
  const broker = await TestBroker.start()
  const publisher = broker.connect({ clientId: 'p' })
  for (const granted of [0, 1, 2] as const) {
    const subscriber = broker.connect({ clientId: `s${granted}` })
    t.same(subscriber.subscribe('a', { qos: granted }), [granted], 'SUBACK grants what was asked for [MQTT-3.8.4-6]')
    for (const qos of [0, 1, 2] as const) {
      publisher.publish('a', 'x', { qos, packetId: 10 })
      if (qos === 2) pubrel(publisher, 10)
      const message = subscriber.takePublish()
      t.equal(message.qos, Math.min(qos, granted))
      if (message.qos === 1) subscriber.puback(message.packetId)
    }
    subscriber.disconnect()
  }
})

t.test(
  'SUBACK and UNSUBACK answer each filter, with the packet id of the request [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5]',
  async (t) => {
    const broker = await TestBroker.start()
    const client = broker.connect({ clientId: 'c', version: 5 })
    const option = { qos: 1 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 as const }
    client.send({
      type: PacketType.subscribe,
      packetId: 77,
      subscriptions: [
        { topicFilter: 'a/#', ...option },
        { topicFilter: '$share/g/a', ...option },
        { topicFilter: '1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17', ...option },
      ],
      properties: undefined,
    })
    t.match(client.take(PacketType.suback), {
      packetId: 77,
      reasonCodes: [ReasonCode.grantedQos1, ReasonCode.grantedQos1, ReasonCode.topicFilterInvalid],
    })
    client.send({ type: PacketType.unsubscribe, packetId: 78, topicFilters: ['a/#', 'b'], properties: undefined })
    t.match(client.take(PacketType.unsuback), {
      packetId: 78,
      reasonCodes: [ReasonCode.success, ReasonCode.noSubscriptionExisted],
    })
    client.publish('a/b', 'x')
    t.same(client.takePayloads(), [])
  },
)

t.test('PUBACK carries the packet id, and in 5.0 tells when nobody was there [MQTT-4.3.2-4]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5 })
  client.publish('a', 'x', { qos: 1, packetId: 9 })
  t.match(client.take(PacketType.puback), { packetId: 9, reasonCode: ReasonCode.noMatchingSubscribers })
  client.subscribe('a')
  client.publish('a', 'x', { qos: 1, packetId: 10 })
  t.match(client.take(PacketType.puback), { packetId: 10, reasonCode: ReasonCode.success })
})

t.test(
  'QoS 2 in: a message sent again before PUBREL is taken once [MQTT-4.3.3-10], PUBREL is answered [MQTT-4.3.3-11]',
  async (t) => {
    const broker = await TestBroker.start()
    const subscriber = broker.connect({ clientId: 's' })
    subscriber.subscribe('a')
    const client = broker.connect({ clientId: 'c', version: 5 })
    client.publish('a', 'once', { qos: 2, packetId: 5 })
    client.publish('a', 'once', { qos: 2, packetId: 5, dup: true })
    t.equal(client.takeAll().filter((packet) => packet.type === PacketType.pubrec).length, 2)
    t.same(subscriber.takePayloads(), ['once'])
    pubrel(client, 5)
    t.match(client.take(PacketType.pubcomp), { packetId: 5, reasonCode: ReasonCode.success })
    pubrel(client, 5)
    t.match(client.take(PacketType.pubcomp), { reasonCode: ReasonCode.packetIdentifierNotFound })
    client.publish('a', 'next', { qos: 2, packetId: 5 })
    t.same(subscriber.takePayloads(), ['next'], 'the id is free again')
  },
)

t.test(
  'QoS 2 out: PUBREC is answered with PUBREL [MQTT-4.3.3-4], after which only PUBREL is sent again [MQTT-4.3.3-6]',
  async (t) => {
    const broker = await TestBroker.start()
    let subscriber = broker.connect(durable('s'))
    subscriber.subscribe('a', { qos: 2 })
    const publisher = broker.connect({ clientId: 'p' })
    publisher.publish('a', '1', { qos: 2, packetId: 1 })
    pubrel(publisher, 1)
    publisher.publish('a', '2', { qos: 2, packetId: 2 })
    pubrel(publisher, 2)
    const [first, second] = subscriber.takeAll() as Publish[]
    subscriber.send({ type: PacketType.pubrec, packetId: first?.packetId ?? 0, reasonCode: 0, properties: undefined })
    t.match(subscriber.take(PacketType.pubrel), { packetId: first?.packetId })
    subscriber.drop()
    subscriber = broker.open()
    t.equal(subscriber.connect(durable('s'))?.sessionPresent, true, 'the session is there [MQTT-3.2.2-3]')
    const again = subscriber.takeAll()
    t.match(again[0], { type: PacketType.pubrel, packetId: first?.packetId })
    t.match(
      again[1],
      { type: PacketType.publish, packetId: second?.packetId, dup: true },
      'sent again as DUP [MQTT-3.3.1-1] [MQTT-4.4.0-1]',
    )
    t.equal(again.length, 2)
    subscriber.send({ type: PacketType.pubcomp, packetId: first?.packetId ?? 0, reasonCode: 0, properties: undefined })
    subscriber.send({ type: PacketType.pubrec, packetId: second?.packetId ?? 0, reasonCode: 0, properties: undefined })
    subscriber.send({ type: PacketType.pubcomp, packetId: second?.packetId ?? 0, reasonCode: 0, properties: undefined })
    publisher.publish('a', '3', { qos: 2, packetId: 3 })
    t.equal(subscriber.takePayloads().length, 1)
  },
)

t.test(
  'acknowledgements leave in the order of their packets, each after its commit [MQTT-4.6.0-2] [MQTT-4.6.0-3]',
  async (t) => {
    const broker = await TestBroker.start()
    broker.connect(durable('s')).subscribe('kept', { qos: 1 })
    const client = broker.connect({ clientId: 'p' })
    const { link } = client
    // Handed over without ending the turn: the commit of `kept` has not happened yet.
    const bytes = (topic: string, packetId: number) =>
      Buffer.from([0x32, 2 + topic.length + 2, 0, topic.length, ...Buffer.from(topic), 0, packetId])
    link.owner?.receive(Buffer.concat([bytes('kept', 1), bytes('other', 2), bytes('kept', 3)]))
    t.equal(link.take().length, 0, 'nothing is acknowledged before it is durable')
    broker.settle()
    t.same(
      client.takeAll().map((packet) => (packet as Ack).packetId),
      [1, 2, 3],
    )
  },
)

t.test('a client that keeps more unacknowledged than Receive Maximum is disconnected', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5 })
  for (let packetId = 1; packetId <= 21; packetId++) client.publish('a', 'x', { qos: 2, packetId })
  t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.receiveMaximumExceeded)
})

t.test(
  'a message never exceeds the Receive Maximum of its recipient; the rest waits in order [MQTT-3.3.4-7]',
  async (t) => {
    const broker = await TestBroker.start()
    const subscriber = broker.connect({ clientId: 's', version: 5, properties: { receiveMaximum: 2 } })
    subscriber.subscribe('a', { qos: 1 })
    const publisher = broker.connect({ clientId: 'p' })
    for (let i = 1; i <= 7; i++) publisher.publish('a', String(i), { qos: 1, packetId: i })
    const seen: string[] = []
    for (let rounds = 0; rounds < 7; rounds++) {
      const messages = subscriber.takeAll().filter((packet) => packet instanceof Publish)
      t.ok(messages.length <= 2)
      for (const message of messages) {
        seen.push(message.payload.toString())
        subscriber.puback(message.packetId)
      }
    }
    t.same(seen, ['1', '2', '3', '4', '5', '6', '7'])
  },
)

t.test('a durable session gets what was published while its client was away, in order and once', async (t) => {
  const broker = await TestBroker.start()
  const first = broker.connect(durable('s'))
  first.subscribe('a/#', { qos: 1 })
  first.drop()
  const publisher = broker.connect({ clientId: 'p' })
  for (let i = 1; i <= 30; i++) publisher.publish(`a/${i % 3}`, String(i), { qos: 1, packetId: i })
  publisher.publish('a/0', 'qos 0 is not kept')
  t.equal(broker.broker.counters.dropped.offlineQos0, 1)

  const second = broker.open()
  t.equal(second.connect(durable('s'))?.sessionPresent, true)
  const seen: string[] = []
  for (let rounds = 0; rounds < 10; rounds++) {
    for (const message of second.takeAll().filter((packet) => packet instanceof Publish)) {
      seen.push(message.payload.toString())
      second.puback(message.packetId)
    }
  }
  t.same(
    seen,
    Array.from({ length: 30 }, (_, i) => String(i + 1)),
  )
  publisher.publish('a/0', 'live', { qos: 1, packetId: 99 })
  t.same(second.takePayloads(), ['live'])
  broker.passMs(2000)
  t.equal(broker.store.log.messageCount, 1, 'only what is not acknowledged is kept')
})

t.test('subscribing again after a reconnect does not lose what waits', async (t) => {
  const broker = await TestBroker.start()
  const first = broker.connect(durable('s'))
  first.subscribe('a', { qos: 1 })
  first.drop()
  broker.connect({ clientId: 'p' }).publish('a', 'waiting', { qos: 1 })
  const second = broker.open()
  second.link.isStuck = true
  second.connect(durable('s'))
  second.subscribe('a', { qos: 1 })
  t.same(second.takePayloads(), ['waiting'])
})

t.test('a subscription gets nothing that was stored before it was made', async (t) => {
  const broker = await TestBroker.start()
  broker.connect(durable('other')).subscribe('a', { qos: 1 })
  broker.connect({ clientId: 'p' }).publish('a', 'before', { qos: 1 })
  const late = broker.connect(durable('late'))
  late.subscribe('a', { qos: 1 })
  t.same(late.takePayloads(), [])
})

t.test(
  'clean start discards the session [MQTT-3.1.2-4], and CONNACK says that none is present [MQTT-3.2.2-2]',
  async (t) => {
    const broker = await TestBroker.start()
    broker.connect(durable('s')).subscribe('a', { qos: 1 })
    const again = broker.open()
    t.equal(again.connect({ ...durable('s'), cleanStart: true })?.sessionPresent, false)
    broker.connect({ clientId: 'p' }).publish('a', 'x', { qos: 1 })
    t.same(again.takePayloads(), [])
  },
)

t.test('a session ends after its expiry interval, which DISCONNECT may shorten', async (t) => {
  const broker = await TestBroker.start()
  const { counters } = broker.broker
  broker.connect({ ...durable('s'), properties: { sessionExpiryInterval: 10 } }).drop()
  broker.passMs(9000)
  t.equal(counters.sessionCount, 1)
  broker.passMs(2000)
  t.equal(counters.sessionCount, 0)
  const client = broker.connect(durable('s'))
  client.send({ type: PacketType.disconnect, reasonCode: 0, properties: { sessionExpiryInterval: 0 } })
  t.equal(counters.sessionCount, 0)
  const none = broker.connect({ clientId: 'n', version: 5 })
  none.send({ type: PacketType.disconnect, reasonCode: 0, properties: { sessionExpiryInterval: 5 } })
  t.equal((none.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.protocolError)
})

t.test('sessions, what waits for them and packet ids in use survive a crash', async (t) => {
  const clock = new VirtualClock()
  const disk = new MemoryDisk()
  const start = () => TestBroker.start({ clock, store: new MemoryStore({ clock, random: new SeededRandom(2), disk }) })
  const before = await start()
  const subscriber = before.connect(durable('s'))
  subscriber.subscribe('a', { qos: 1 })
  const publisher = before.connect(durable('p'))
  publisher.publish('a', '1', { qos: 1, packetId: 1 })
  publisher.publish('a', '2', { qos: 2, packetId: 2 })
  t.equal(publisher.takeAll().filter((packet) => packet.type !== PacketType.connack).length, 2, 'both acknowledged')
  const [one] = subscriber.takeAll().filter((packet) => packet instanceof Publish)
  subscriber.puback(one?.packetId ?? 0)
  before.passMs(1500)

  const after = await start()
  const again = after.open()
  again.version = 5
  t.equal(again.connect(durable('s'))?.sessionPresent, true)
  t.same(again.takePayloads(), ['2'], 'what was acknowledged does not come again')
  const publisherAgain = after.connect(durable('p'))
  publisherAgain.publish('a', '2', { qos: 2, packetId: 2, dup: true })
  t.ok(publisherAgain.take(PacketType.pubrec))
  t.same(again.takePayloads(), [], 'a QoS 2 message is not taken twice')
  after.connect({ clientId: 'q' }).publish('a', '3', { qos: 1 })
  t.same(again.takePayloads(), ['3'])
})

t.test('after an orderly stop unacknowledged messages come again under their packet ids, as DUP', async (t) => {
  const clock = new VirtualClock()
  const disk = new MemoryDisk()
  const start = () => TestBroker.start({ clock, store: new MemoryStore({ clock, random: new SeededRandom(2), disk }) })
  const before = await start()
  const subscriber = before.connect(durable('s'))
  subscriber.subscribe('a', { qos: 2 })
  const publisher = before.connect({ clientId: 'p' })
  for (const packetId of [1, 2, 3]) publisher.publish('a', String(packetId), { qos: 1, packetId })
  const sent = subscriber.takeAll().filter((packet) => packet instanceof Publish)
  subscriber.puback(sent[1]?.packetId ?? 0)
  before.broker.stop()
  await before.store.close()

  const after = await start()
  const again = after.connect(durable('s'))
  const messages = again.takeAll().filter((packet) => packet instanceof Publish)
  t.same(
    messages.map((message) => [message.payload.toString(), message.packetId, message.dup]),
    [
      ['1', sent[0]?.packetId, true],
      ['3', sent[2]?.packetId, true],
    ],
  )
})

t.test('a slow durable client falls back to the log and loses nothing', async (t) => {
  const broker = await TestBroker.start({ settings: { outputBytesMax: 2000, inflightMax: 100 } })
  const subscriber = broker.connect(durable('s'))
  subscriber.subscribe('a', { qos: 1 })
  subscriber.takeAll()
  subscriber.link.isStuck = true
  const publisher = broker.connect({ clientId: 'p' })
  for (let i = 1; i <= 100; i++) publisher.publish('a', `${i} ${'x'.repeat(100)}`, { qos: 1, packetId: (i % 60) + 1 })
  const early = subscriber.takePayloads().length
  t.ok(early < 40, `${early} were sent before the link was full`)
  subscriber.link.isStuck = false
  let late = 0
  for (let rounds = 0; rounds < 100 && early + late < 100; rounds++) {
    subscriber.link.unstick()
    broker.settle()
    late += subscriber.takePayloads().length
  }
  t.equal(early + late, 100)
  t.equal(broker.broker.counters.dropped.linkFull, 0)
})

t.test(
  'a client that acknowledges its backlog message by message is sent it in batches, and is never kept waiting',
  async (t) => {
    const broker = await TestBroker.start({ settings: { inflightMax: 40 } })
    const away = broker.connect(durable('s'))
    away.subscribe('a', { qos: 1 })
    away.disconnect()
    const publisher = broker.connect({ clientId: 'p' })
    for (let i = 1; i <= 100; i++) publisher.publish('a', `${i}`, { qos: 1, packetId: i })
    const back = broker.connect(durable('s'))
    const takePacketIds = (): number[] =>
      back.takeAll().flatMap((packet) => (packet instanceof Publish ? [packet.packetId] : []))
    const sent = takePacketIds()
    t.equal(sent.length, 40)
    const counts = sent.map((packetId) => {
      back.puback(packetId)
      const more = takePacketIds()
      sent.push(...more)
      return more.length
    })
    t.strictSame(
      counts.filter((count) => count > 0),
      [10, 10, 10, 10],
    )
    back.puback(sent[40] ?? 0)
    t.strictSame(takePacketIds(), [], 'a single one waits for others')
    broker.passMs(5)
    t.equal(takePacketIds().length, 1, 'but not for long')
  },
)

t.test('what finds the turn full goes in the next one, although the link took everything at once', async (t) => {
  for (const isDurable of [false, true]) {
    const broker = await TestBroker.start({ settings: { outputBytesMax: 2000, inflightMax: 100 } })
    const subscriber = broker.connect(isDurable ? durable('s') : { clientId: 's' })
    subscriber.subscribe('a', { qos: 1 })
    const publisher = broker.connect({ clientId: 'p' })
    const output = new OutputBuffer()
    for (let i = 1; i <= 60; i++) {
      const message = Publish.create({ topic: 'a', payload: String(i).padEnd(100) })
      encodePublish(output, message, 4, 1, false, false, i, undefined, Number.POSITIVE_INFINITY)
    }
    publisher.sendBytes(Buffer.concat(output.take()))
    t.same(
      subscriber.takePayloads().map(Number),
      Array.from({ length: 60 }, (_, index) => index + 1),
      isDurable ? 'out of the log' : 'out of memory',
    )
  }
})

t.test('QoS 0 for a client that does not read is dropped and counted', async (t) => {
  const broker = await TestBroker.start({ settings: { outputBytesMax: 2000 } })
  const subscriber = broker.connect({ clientId: 's' })
  subscriber.subscribe('a')
  subscriber.link.isStuck = true
  const publisher = broker.connect({ clientId: 'p' })
  for (let i = 0; i < 100; i++) publisher.publish('a', 'x'.repeat(100))
  t.equal(subscriber.takePayloads().length + broker.broker.counters.dropped.linkFull, 100)
  t.ok(broker.broker.counters.dropped.linkFull > 50)
})

t.test('QoS 1 for a client without a durable session waits in memory up to a bound', async (t) => {
  const broker = await TestBroker.start()
  const subscriber = broker.connect({ clientId: 's' })
  subscriber.subscribe('a', { qos: 1 })
  const publisher = broker.connect({ clientId: 'p' })
  for (let i = 1; i <= 100; i++) publisher.publish('a', String(i), { qos: 1, packetId: i })
  t.equal(broker.broker.counters.dropped.queueFull, 100 - 8 - 50)
})

t.test('the oldest messages go when the backlog is over its bounds, and are counted', async (t) => {
  const broker = await TestBroker.start({ settings: { backlogCountMax: 10 } })
  const first = broker.connect(durable('s'))
  first.subscribe('a', { qos: 1 })
  first.drop()
  const publisher = broker.connect({ clientId: 'p' })
  for (let i = 1; i <= 15; i++) publisher.publish('a', String(i), { qos: 1, packetId: i })
  broker.passMs(1500)
  t.equal(broker.broker.counters.dropped.backlogFull, 5)
  const second = broker.connect(durable('s'))
  t.equal(second.takePayloads()[0], '6')
})

t.test('No Local: a client does not get its own messages back [MQTT-3.8.3-3]', async (t) => {
  const broker = await TestBroker.start()
  for (const client of [broker.connect({ clientId: 'c', version: 5 }), broker.connect(durable('d'))]) {
    client.subscribe('a', { qos: 1, noLocal: true })
    client.publish('a', 'mine', { qos: 1, packetId: 3 })
    broker.connect({ clientId: 'p' }).publish('a', 'theirs', { qos: 1 })
    t.same(client.takePayloads(), ['theirs'])
    client.disconnect()
  }
})

t.test('a message larger than Maximum Packet Size is not sent, and the rest goes on [MQTT-3.1.2-24]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5, properties: { maximumPacketSize: 50, receiveMaximum: 1 } })
  client.subscribe('a', { qos: 1 })
  const publisher = broker.connect({ clientId: 'p' })
  publisher.publish('a', 'x'.repeat(60), { qos: 1, packetId: 1 })
  publisher.publish('a', 'small', { qos: 1, packetId: 2 })
  t.same(client.takePayloads(), ['small'])
  t.equal(broker.broker.counters.dropped.tooLarge, 1)
})

t.test(
  'an expired message is not sent [MQTT-3.3.2-5]; one that is sent carries what is left [MQTT-3.3.2-6]',
  async (t) => {
    const broker = await TestBroker.start()
    const first = broker.connect(durable('s'))
    first.subscribe('a', { qos: 1 })
    first.drop()
    const publisher = broker.connect({ clientId: 'p', version: 5 })
    publisher.publish('a', 'short', { qos: 1, packetId: 1, properties: { messageExpiryInterval: 5 } })
    publisher.publish('a', 'long', { qos: 1, packetId: 2, properties: { messageExpiryInterval: 60 } })
    broker.passMs(10_000)
    const second = broker.connect(durable('s'))
    const messages = second.takeAll().filter((packet) => packet instanceof Publish)
    t.same(
      messages.map((message) => message.payload.toString()),
      ['long'],
    )
    t.equal(messages[0]?.properties?.messageExpiryInterval, 50)
    t.equal(broker.broker.counters.dropped.expired, 1)
  },
)

t.test('5.0 properties travel unchanged, and an alias ends at its hop [MQTT-3.3.2-9]', async (t) => {
  const broker = await TestBroker.start()
  const subscriber = broker.connect({ clientId: 's', version: 5 })
  subscriber.subscribe('#', { id: 7 })
  const older = broker.connect({ clientId: 'o', version: 4 })
  older.subscribe('#')
  const publisher = broker.connect({ clientId: 'p', version: 5 })
  const userProperties = [
    ['k', '1'],
    ['k', '2'],
  ] as const
  publisher.publish('a', '1', { properties: { topicAlias: 2, contentType: 'text/plain', userProperties } })
  publisher.publish('', '2', { properties: { topicAlias: 2 } })
  const [one, two] = subscriber.takeAll() as Publish[]
  t.same(one?.properties, { contentType: 'text/plain', userProperties, subscriptionIdentifiers: [7] })
  t.equal(two?.topic, 'a')
  t.same(older.takePayloads(), ['1', '2'])
  publisher.publish('', '3', { properties: { topicAlias: 3 } })
  t.equal((publisher.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.protocolError)
  const other = broker.connect({ clientId: 'q', version: 5 })
  other.publish('a', '4', { properties: { topicAlias: 5 } })
  t.equal((other.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.topicAliasInvalid)
})

t.test('a PUBLISH with a Subscription Identifier from a client is a protocol error [MQTT-3.3.4-6]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5 })
  client.publish('a', 'x', { properties: { subscriptionIdentifiers: [1] } })
  t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.protocolError)
})

t.test('a mountpoint is put before every topic and taken off again, whatever the client says', async (t) => {
  const broker = await TestBroker.start()
  const listener = { mountpoint: 'g/{identity}/', requireIdentity: true }
  const gateway = broker.connect(
    {
      clientId: 'edge-1',
      will: { topic: 'state', payload: Buffer.from('lost'), qos: 0, retain: false, properties: undefined },
    },
    { ...listener, identity: 'gw1' },
  )
  const other = broker.connect({ clientId: 'edge-2' }, { ...listener, identity: 'gw2' })
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('#')
  gateway.subscribe('cmd/#')
  gateway.publish('g/gw2/temp', '21')
  t.equal(watcher.takePublish().topic, 'g/gw1/g/gw2/temp', 'no way out of its own prefix')
  watcher.publish('g/gw1/cmd/x', 'go')
  t.equal(gateway.takePublish().topic, 'cmd/x')
  t.same(other.takePayloads(), [])
  watcher.takeAll()
  gateway.drop()
  t.equal(watcher.takePublish().topic, 'g/gw1/state')

  const sly = broker.open({ ...listener, identity: 'a/+' })
  t.equal(sly.connect({ clientId: 'x', version: 5 })?.reasonCode, ReasonCode.notAuthorized)
  const nobody = broker.open(listener)
  t.equal(
    nobody.connect({ clientId: 'y', version: 5 })?.reasonCode,
    ReasonCode.notAuthorized,
    'no certificate, no entry',
  )
})

t.test('a QoS 2 message counts once towards Receive Maximum, also while its PUBREC waits for the disk', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect(durable('c'))
  const publish = (packetId: number) => Buffer.from([0x34, 6, 0, 1, 0x61, 0, packetId, 0])
  client.link.owner?.receive(Buffer.concat(Array.from({ length: 20 }, (_, i) => publish(i + 1))))
  broker.settle()
  t.ok(
    client.takeAll().every((packet) => packet.type === PacketType.pubrec),
    'twenty are allowed and received',
  )
})
