import t from 'tap'
import type { ShareStrategy } from '../../src/broker/share-strategy.ts'
import { type Disconnect, PacketType } from '../../src/protocol/packet.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { drain, durable, join, messagesOf, oneTo, publishAll } from './share-members.ts'

t.test('each group gets each message once, and plain subscribers get it too', async (t) => {
  const broker = await TestBroker.start()
  const g = [join(broker, 'g1'), join(broker, 'g2'), join(broker, 'g3')]
  const h = [join(broker, 'h1', 0, '$share/h/a/#'), join(broker, 'h2', 0, '$share/h/a/#')]
  const otherFilter = join(broker, 'o', 0, '$share/g/a/b')
  const plain = join(broker, 'plain', 0, 'a/b')
  publishAll(broker.connect({ clientId: 'p' }), oneTo(12))
  t.same(
    g.map((client) => client.takePayloads().length),
    [4, 4, 4],
    'in turn',
  )
  t.same(
    h.map((client) => client.takePayloads().length),
    [6, 6],
  )
  t.equal(otherFilter.takePayloads().length, 12, 'share name and filter together make the group')
  t.equal(plain.takePayloads().length, 12)
})

t.test('CONNACK does not say that shared subscriptions are missing', async (t) => {
  const broker = await TestBroker.start()
  const connack = broker.open().connect({ clientId: 'c', version: 5 })
  t.not(connack?.properties?.sharedSubscriptionAvailable, 0)
})

t.test('$queue is a group, the same as $share/$queue', async (t) => {
  const broker = await TestBroker.start()
  const members = [join(broker, 'q1', 0, '$queue/a/#'), join(broker, 'q2', 0, '$share/$queue/a/#')]
  const publisher = broker.connect({ clientId: 'p' })
  publishAll(publisher, oneTo(10))
  t.same(
    members.map((client) => client.takePayloads().length),
    [5, 5],
  )
  const [first] = members as [TestClient]
  first.send({
    type: PacketType.unsubscribe,
    packetId: 2,
    topicFilters: ['$queue/a/#', '$queue/x'],
    properties: undefined,
  })
  t.match(first.take(PacketType.unsuback), { reasonCodes: [ReasonCode.success, ReasonCode.noSubscriptionExisted] })
  publishAll(publisher, oneTo(3))
  t.same(
    members.map((client) => client.takePayloads().length),
    [0, 3],
  )
})

t.test('what is not a shared subscription is refused with 0x8F, and No Local with 0x82 [MQTT-3.8.3-4]', async (t) => {
  const broker = await TestBroker.start()
  t.same(join(broker, 'c').subscribe('$queue/'), [ReasonCode.topicFilterInvalid])
  for (const filter of ['$share//a', '$share/g', '$share/g/', '$share/+/a']) {
    const client = broker.connect({ clientId: 'c', version: 5 })
    client.subscribe(filter)
    t.equal((client.take(PacketType.disconnect) as Disconnect | undefined)?.reasonCode, ReasonCode.topicFilterInvalid)
  }
  for (const filter of ['$share/g/a', '$queue/a']) {
    const client = broker.connect({ clientId: 'c', version: 5 })
    client.subscribe(filter, { noLocal: true })
    t.equal((client.take(PacketType.disconnect) as Disconnect | undefined)?.reasonCode, ReasonCode.protocolError)
  }
})

t.test('no retained messages for a new member; live ones keep the flag for those who ask', async (t) => {
  const broker = await TestBroker.start()
  const publisher = broker.connect({ clientId: 'p' })
  publisher.publish('a/b', 'kept', { retain: true })
  const member = join(broker, 'm', 1)
  t.same(member.takePayloads(), [])
  member.subscribe('$share/g/a/#', { qos: 1, retainAsPublished: true, id: 5 })
  publisher.publish('a/b', 'live', { retain: true, qos: 1 })
  t.match(member.takePublish(), { retain: true, qos: 1, properties: { subscriptionIdentifiers: [5] } })
})

t.test('each member gets messages at the QoS that it was granted [MQTT-4.8.2-3]', async (t) => {
  const broker = await TestBroker.start()
  const members = ([0, 1, 2] as const).map((qos) => join(broker, `m${qos}`, qos))
  const publisher = broker.connect({ clientId: 'p' })
  for (const packetId of [1, 2, 3]) publisher.publish('a/b', 'x', { qos: 2, packetId })
  t.same(
    members.map((member) => messagesOf(member).map(({ qos }) => qos)),
    [[0], [1], [2]],
  )
})

t.test('the mountpoint goes inside: a client shares only below its own prefix', async (t) => {
  const broker = await TestBroker.start()
  const listener = { mountpoint: 'g/{identity}/', requireIdentity: true }
  const inside = broker.connect({ clientId: 'c1' }, { ...listener, identity: 'gw1' })
  const other = broker.connect({ clientId: 'c2' }, { ...listener, identity: 'gw2' })
  inside.subscribe('$share/g/#')
  other.subscribe('$share/g/#')
  const publisher = broker.connect({ clientId: 'p' })
  publisher.publish('g/gw1/x', '1')
  publisher.publish('g/gw2/x', '2')
  publisher.publish('x', '3')
  t.match(messagesOf(inside), [{ topic: 'x' }])
  t.same(other.takePayloads(), ['2'])
  inside.send({ type: PacketType.unsubscribe, packetId: 2, topicFilters: ['$share/g/#'], properties: undefined })
  publisher.publish('g/gw1/x', '4')
  t.same(inside.takePayloads(), [])
})

t.test('strategies', async (t) => {
  /** How many of `rounds` messages of each publisher every member got. */
  async function shares(strategy: ShareStrategy, publishers: number, rounds: number): Promise<number[][]> {
    const broker = await TestBroker.start({ settings: { sharedSubscriptionStrategy: strategy } })
    const members = ['m1', 'm2', 'm3'].map((clientId) => join(broker, clientId))
    const counts: number[][] = []
    for (let index = 0; index < publishers; index++) {
      const publisher = broker.connect({ clientId: `p${index}` })
      for (let round = 0; round < rounds; round++) publisher.publish(`a/${round % 7}`, 'x')
      counts.push(members.map((member) => member.takePayloads().length))
    }
    return counts
  }
  const sum = (counts: number[][]) =>
    [0, 1, 2].map((member) => counts.reduce((all, count) => all + (count[member] ?? 0), 0))

  await t.test('round_robin and local: every publisher goes round', async (t) => {
    t.same(await shares('round_robin', 2, 6), [
      [2, 2, 2],
      [2, 2, 2],
    ])
    t.same(sum(await shares('round_robin', 30, 1)), [10, 10, 10], 'publishers of one message each spread too')
    t.same(await shares('local', 2, 6), [
      [2, 2, 2],
      [2, 2, 2],
    ])
  })
  await t.test('round_robin_per_group: all publishers go round together', async (t) => {
    t.same(await shares('round_robin_per_group', 3, 2), [
      [1, 1, 0],
      [1, 0, 1],
      [0, 1, 1],
    ])
  })
  await t.test('random: everybody gets something', async (t) => {
    const counts = sum(await shares('random', 1, 300))
    t.ok(
      counts.every((count) => count > 60),
      String(counts),
    )
  })
  await t.test('hash_clientid: one publisher, one member; several publishers spread', async (t) => {
    const counts = await shares('hash_clientid', 20, 5)
    t.ok(counts.every((count) => count.includes(5)))
    t.ok(sum(counts).every((count) => count > 0))
  })
  await t.test('hash_topic: one topic, one member, whoever publishes', async (t) => {
    const counts = await shares('hash_topic', 2, 70)
    t.same(counts[0], counts[1])
    t.ok((counts[0] ?? []).every((count) => count % 10 === 0))
    t.ok((counts[0] ?? []).filter((count) => count > 0).length > 1)
  })
  await t.test('sticky: one member until it goes', async (t) => {
    const broker = await TestBroker.start({ settings: { sharedSubscriptionStrategy: 'sticky' } })
    const members = ['m1', 'm2', 'm3'].map((clientId) => join(broker, clientId))
    const publisher = broker.connect({ clientId: 'p' })
    const counts = () => {
      publishAll(publisher, oneTo(5))
      return members.map((member) => member.takePayloads().length)
    }
    t.same(counts(), [5, 0, 0])
    members[0]?.drop()
    t.same(counts(), [0, 5, 0])
    members[1]?.disconnect()
    t.same(counts(), [0, 0, 5])
  })
  await t.test('least_inflight: whoever has fewest unacknowledged', async (t) => {
    const broker = await TestBroker.start({ settings: { sharedSubscriptionStrategy: 'least_inflight' } })
    const [slow, quick] = ['slow', 'quick'].map((clientId) => join(broker, clientId, 1)) as [TestClient, TestClient]
    const publisher = broker.connect({ clientId: 'p' })
    let quickCount = 0
    for (const payload of oneTo(10)) {
      publisher.publish('a/b', payload, { qos: 1 })
      quickCount += drain(quick).length
    }
    t.equal(quickCount, 9)
    t.equal(messagesOf(slow).length, 1)
  })
})

t.test('members that are away or full are passed over while another one can take', async (t) => {
  const broker = await TestBroker.start({ settings: { outputBytesMax: 2000 } })
  const away = broker.connect(durable('away'))
  away.subscribe('$share/g/a/#', { qos: 1 })
  away.drop()
  const stuck = join(broker, 'stuck', 1)
  stuck.takeAll()
  stuck.link.isStuck = true
  const slow = broker.connect({ clientId: 'slow', version: 5, properties: { receiveMaximum: 2 } })
  slow.subscribe('$share/g/a/#', { qos: 1 })
  const quick = join(broker, 'quick', 1)
  const publisher = broker.connect({ clientId: 'p' })
  const seen: string[] = []
  for (const payload of oneTo(60)) {
    publisher.publish('a/b', payload.padEnd(200), { qos: 1 })
    seen.push(...drain(quick))
  }
  const fromStuck = stuck.takePayloads().length
  t.ok(fromStuck <= 10, `${fromStuck} fitted before the link was full`)
  t.equal(messagesOf(slow).length, 2)
  t.equal(seen.length, 60 - fromStuck - 2)
})

t.test('QoS 0 that nobody can take is dropped and counted; QoS 1 waits for whoever has room first', async (t) => {
  const broker = await TestBroker.start()
  const members = ['m1', 'm2'].map((clientId) => join(broker, clientId, 1)) as [TestClient, TestClient]
  const publisher = broker.connect({ clientId: 'p' })
  publishAll(publisher, oneTo(30), 1)
  const [one, two] = members
  const early = messagesOf(one)
  t.equal(early.length, 8, 'the window')
  for (const message of early) one.puback(message.packetId)
  t.same(messagesOf(one).map(({ payload }) => payload.toString())[0], '17', 'oldest first')
  t.equal(messagesOf(two).length, 8)
  for (const { link } of members) link.isStuck = true
  broker.broker.counters.dropped.linkFull = 0
  for (let index = 0; index < 5; index++) publisher.publish('a/b', 'x'.repeat(60_000))
  t.ok(broker.broker.counters.dropped.linkFull >= 1)
})

t.test(
  'when a member goes, another one gets its QoS 1 messages, and its QoS 2 messages nobody [MQTT-4.8.2-5]',
  async (t) => {
    const broker = await TestBroker.start()
    const leaver = join(broker, 'leaver', 2)
    const publisher = broker.connect({ clientId: 'p' })
    publishAll(publisher, oneTo(12), 1)
    publisher.publish('a/b', 'two', { qos: 2, packetId: 50 })
    const stayer = join(broker, 'stayer', 2)
    t.same(drain(stayer), ['9', '10', '11', '12', 'two'], 'what nobody had yet')
    t.equal(messagesOf(leaver).length, 8)
    leaver.drop()
    t.same(drain(stayer), oneTo(8))

    const second = join(broker, 'second', 2)
    publisher.publish('a/b', 'A', { qos: 2, packetId: 51 })
    publisher.publish('a/b', 'B', { qos: 2, packetId: 52 })
    t.equal(messagesOf(second).length, 1)
    second.disconnect()
    t.equal(messagesOf(stayer).length, 1)
    t.equal(broker.broker.counters.dropped.shareMemberGone, 1)
    t.equal(broker.broker.counters.sentMessages, 8 + 5 + 8 + 2, 'the copies that clients got')
  },
)

t.test('a message that a member refuses is not offered to another one [MQTT-4.8.2-6]', async (t) => {
  const broker = await TestBroker.start()
  const refuser = join(broker, 'refuser', 1)
  const other = join(broker, 'other', 1)
  broker.connect({ clientId: 'p' }).publish('a/b', 'x', { qos: 1 })
  const { packetId } = refuser.takePublish()
  refuser.send({ type: PacketType.puback, packetId, reasonCode: ReasonCode.quotaExceeded, properties: undefined })
  refuser.disconnect()
  t.same(other.takePayloads(), [])
})

t.test('a message that is too large for one member goes to one that takes it', async (t) => {
  const broker = await TestBroker.start()
  const small = broker.connect({ clientId: 'small', version: 5, properties: { maximumPacketSize: 50 } })
  small.subscribe('$share/g/a/#', { qos: 1 })
  const publisher = broker.connect({ clientId: 'p' })
  publishAll(publisher, ['x'.repeat(60)], 1)
  t.equal(broker.broker.counters.dropped.tooLarge, 1)
  const large = join(broker, 'large', 1)
  publishAll(publisher, ['y'.repeat(60), 'z'.repeat(60), 'fits'], 1)
  t.equal(drain(small, large).length, 3)
})
