/** Clients before 5.0: what MQTT 3.1 does otherwise than 3.1.1, and the bridges of mosquitto. */
import t from 'tap'
import { type Connack, PacketType } from '../../src/protocol/packet.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { TestBroker } from '../fakes/test-broker.ts'
import { wire } from '../fixtures/wire.ts'

t.test('MQTT 3.1', async (t) => {
  await t.test('is spoken from CONNECT to QoS 2, with retained messages and wills', async (t) => {
    const broker = await TestBroker.start()
    const watcher = broker.connect({ clientId: 'watcher', version: 3 })
    t.same(watcher.subscribe('a/#', { qos: 2 }), [2])
    const will = { topic: 'a/will', payload: Buffer.from('gone'), qos: 1 as const, retain: true, properties: undefined }
    const publisher = broker.connect({ clientId: 'publisher', version: 3, will })
    publisher.publish('a/2', 'twice', { qos: 2, packetId: 5 })
    t.match(publisher.take(PacketType.pubrec), { packetId: 5 })
    publisher.sendBytes(wire('62 02 0005'))
    t.match(publisher.take(PacketType.pubcomp), { packetId: 5 })
    publisher.drop()
    t.same(watcher.takePayloads(), ['twice', 'gone'])
    const late = broker.connect({ clientId: 'late', version: 3 })
    late.subscribe('a/will')
    t.ok(late.takePublish().retain)
  })

  await t.test('has packets that are sent again with DUP: PUBREL, SUBSCRIBE, UNSUBSCRIBE', async (t) => {
    const broker = await TestBroker.start()
    const client = broker.connect({ clientId: 'c', version: 3 })
    client.sendBytes(wire("8a 06 0001 0001'a' 01"))
    t.ok(client.take(PacketType.suback))
    client.sendBytes(wire("aa 05 0002 0001'a'"))
    t.ok(client.take(PacketType.unsuback))
    client.publish('a', 'x', { qos: 2, packetId: 3 })
    client.sendBytes(wire('6a 02 0003'))
    t.ok(client.take(PacketType.pubcomp))
    t.notOk(client.link.isEnded)
  })

  await t.test('keeps a session, and its CONNACK says nothing of it', async (t) => {
    const broker = await TestBroker.start()
    const first = broker.connect({ clientId: 'c', version: 3, cleanStart: false })
    first.subscribe('a', { qos: 1 })
    first.drop()
    broker.connect({ clientId: 'p' }).publish('a', 'waiting', { qos: 1 })
    const second = broker.open()
    second.sendBytes(wire("10 0f 0006'MQIsdp' 03 00 0000 0001'c'"))
    t.same([...second.link.take().subarray(0, 4)], [0x20, 2, 0, 0])
  })

  await t.test('has client identifiers of more than 23 bytes, as mosquitto does, and none that is empty', async (t) => {
    const broker = await TestBroker.start()
    const long = broker.open()
    t.equal(long.connect({ clientId: 'x'.repeat(200), version: 3 })?.reasonCode, ReasonCode.success)
    const nobody = broker.open()
    nobody.sendBytes(wire("10 0e 0006'MQIsdp' 03 02 003c 0000"))
    t.same([...nobody.link.take()], [0x20, 2, 0, 2], 'identifier rejected')
    t.ok(nobody.link.isEnded)
  })

  await t.test('publishes the will of a client that is taken over', async (t) => {
    const broker = await TestBroker.start()
    const watcher = broker.connect({ clientId: 'watcher' })
    watcher.subscribe('will')
    const will = { topic: 'will', payload: Buffer.from('gone'), qos: 0 as const, retain: false, properties: undefined }
    const first = broker.connect({ clientId: 'c', version: 3, cleanStart: false, will })
    broker.connect({ clientId: 'c', version: 3, cleanStart: false })
    t.ok(first.link.isEnded)
    t.same(first.takeAll(), [], 'no DISCONNECT: servers did not send one')
    t.same(watcher.takePayloads(), ['gone'])
  })
})

for (const version of [3, 4] as const) {
  t.test(`a mosquitto bridge of level 0x8${version}`, async (t) => {
    await t.test('is sent the retain flag as it was published, and the retained messages', async (t) => {
      const broker = await TestBroker.start()
      const publisher = broker.connect({ clientId: 'p' })
      publisher.publish('a/kept', 'old', { retain: true })
      const bridge = broker.connect({ clientId: 'bridge', version, isBridge: true })
      bridge.subscribe('a/#', { qos: 1 })
      t.match(bridge.takePublish(), { topic: 'a/kept', retain: true })
      publisher.publish('a/kept', 'new', { retain: true, qos: 1 })
      t.match(bridge.takePublish(), { topic: 'a/kept', retain: true })
      publisher.publish('a/passing', 'x')
      t.match(bridge.takePublish(), { topic: 'a/passing', retain: false })
    })

    await t.test('does not get its own messages back, also from the log of its session', async (t) => {
      const broker = await TestBroker.start()
      const bridge = broker.connect({ clientId: 'bridge', version, isBridge: true, cleanStart: false })
      bridge.subscribe('#', { qos: 1 })
      bridge.publish('a', 'mine', { qos: 1 })
      bridge.publish('a', 'mine too')
      broker.connect({ clientId: 'p' }).publish('a', 'theirs', { qos: 1 })
      t.same(bridge.takePayloads(), ['theirs'])
    })

    await t.test('stays known as one when it connects again before the old connection is gone', async (t) => {
      const broker = await TestBroker.start()
      const stale = broker.connect({ clientId: 'bridge', version, isBridge: true })
      const bridge = broker.connect({ clientId: 'bridge', version, isBridge: true })
      stale.drop()
      t.ok(broker.broker.isRelay('bridge'))
      bridge.disconnect()
      t.notOk(broker.broker.isRelay('bridge'))
    })

    await t.test('may be a member of a group', async (t) => {
      const broker = await TestBroker.start()
      const bridge = broker.connect({ clientId: 'bridge', version, isBridge: true })
      t.same(bridge.subscribe('$share/g/a', { qos: 1 }), [1])
    })
  })
}

t.test('an ordinary client of the same version gets its own messages, without the retain flag', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 4 })
  client.subscribe('a')
  client.publish('a', 'mine', { retain: true })
  const echo = client.takePublish()
  t.match(echo, { topic: 'a', retain: false })
})

t.test('a level with the bridge bit that no version has is refused', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.open()
  client.sendBytes(wire("10 0d 0004'MQTT' 86 02 003c 0001'a'"))
  t.equal((client.take(PacketType.connack) as Connack).reasonCode, ReasonCode.unsupportedProtocolVersion)
})
