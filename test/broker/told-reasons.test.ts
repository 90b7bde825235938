/** What 5.0 clients are told beside a reason code: words, another server, where responses belong; within their limits. */
import t from 'tap'
import type { Authorizer } from '../../src/ports/auth.ts'
import { type Connack, type Disconnect, PacketType, type Suback } from '../../src/protocol/packet.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { TestBroker } from '../fakes/test-broker.ts'
import { wire } from '../fixtures/wire.ts'

const forbidden: Authorizer = {
  mayPublish: (_principal, topic) => !topic.startsWith('secret'),
  maySubscribe: (_principal, topicFilter) => !topicFilter.startsWith('secret'),
}

t.test('reasons in words', async (t) => {
  await t.test('stand in a refused SUBACK and PUBACK', async (t) => {
    const broker = await TestBroker.start({ authorizer: forbidden })
    const client = broker.connect({ clientId: 'c', version: 5 })
    client.subscribe('secret/a')
    client.send({
      type: PacketType.subscribe,
      packetId: 2,
      subscriptions: ['open', 'secret/b'].map((topicFilter) => ({
        topicFilter,
        qos: 0,
        noLocal: false,
        retainAsPublished: false,
        retainHandling: 0,
      })),
      properties: undefined,
    })
    const suback = client.take(PacketType.suback) as Suback
    t.same(suback.reasonCodes, [0, ReasonCode.notAuthorized])
    t.match(suback.properties?.reasonString, /rules/)
    client.publish('secret/a', 'x', { qos: 1 })
    t.match(client.take(PacketType.puback), {
      reasonCode: ReasonCode.notAuthorized,
      properties: { reasonString: /rules/ },
    })
  })

  await t.test(
    'do not when Request Problem Information is 0, but in DISCONNECT they may [MQTT-3.1.2-29]',
    async (t) => {
      const broker = await TestBroker.start({ authorizer: forbidden })
      const client = broker.connect({ clientId: 'c', version: 5, properties: { requestProblemInformation: 0 } })
      client.publish('secret/a', 'x', { qos: 1 })
      t.match(client.take(PacketType.puback), { reasonCode: ReasonCode.notAuthorized, properties: undefined })
      client.publish('secret/a', 'x', { qos: 2 })
      t.match(client.take(PacketType.pubrec), { reasonCode: ReasonCode.notAuthorized, properties: undefined })
      client.sendBytes(wire('36 07 0001 61 0001 00 00'))
      t.match(client.take(PacketType.disconnect), {
        reasonCode: ReasonCode.malformedPacket,
        properties: { reasonString: 'PUBLISH with QoS 3' },
      })
    },
  )

  await t.test('are left out where they would make CONNACK too large [MQTT-3.2.2-19]', async (t) => {
    const broker = await TestBroker.start()
    const open = (maximumPacketSize: number) => {
      const properties = { maximumPacketSize }
      return broker.open().connect({ clientId: '$x', version: 5, properties }) as Connack
    }
    t.match(open(200), { reasonCode: ReasonCode.clientIdentifierNotValid, properties: { reasonString: /begin with/ } })
    t.match(open(20), { reasonCode: ReasonCode.clientIdentifierNotValid, properties: undefined })
  })

  await t.test('are left out where they would make DISCONNECT too large [MQTT-3.14.2-3]', async (t) => {
    const broker = await TestBroker.start()
    const client = broker.connect({ clientId: 'c', version: 5, properties: { maximumPacketSize: 20 } })
    client.send({ type: PacketType.auth, reasonCode: 0, properties: undefined })
    t.match(client.take(PacketType.disconnect), { reasonCode: ReasonCode.protocolError, properties: undefined })
  })

  await t.test(
    'are left out where they would make an acknowledgement too large [MQTT-3.4.2-2] [MQTT-3.5.2-2] [MQTT-3.9.2-1]',
    async (t) => {
      const broker = await TestBroker.start({ authorizer: forbidden })
      const client = broker.connect({ clientId: 'c', version: 5, properties: { maximumPacketSize: 20 } })
      client.publish('secret/a', 'x', { qos: 1 })
      t.match(client.take(PacketType.puback), { reasonCode: ReasonCode.notAuthorized, properties: undefined })
      client.publish('secret/a', 'x', { qos: 2 })
      t.match(client.take(PacketType.pubrec), { reasonCode: ReasonCode.notAuthorized, properties: undefined })
      client.subscribe('a')
      t.same(client.subscribe('secret/a'), [ReasonCode.notAuthorized])
    },
  )
})

t.test('a client that takes no packet as large as CONNACK is left without one', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.open()
  t.equal(client.connect({ clientId: 'c', version: 5, properties: { maximumPacketSize: 5 } }), undefined)
  t.ok(client.link.isEnded)
  t.equal(broker.broker.counters.sessionCount, 0)
})

t.test('an answer that the client cannot take ends the connection before anything is subscribed', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5, properties: { maximumPacketSize: 20 } })
  const topicFilters = Array.from({ length: 30 }, (_, n) => `a/${n}`)
  client.send({ type: PacketType.unsubscribe, packetId: 1, topicFilters, properties: undefined })
  t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.packetTooLarge)
})

t.test('Response Information goes to those who ask for it, if there is any [MQTT-3.1.2-28]', async (t) => {
  const broker = await TestBroker.start({ settings: { responseInformation: 'reply/{client_id}/' } })
  const told = (requestResponseInformation: 0 | 1 | undefined) => {
    const connack = broker.open().connect({ clientId: 'c1', version: 5, properties: { requestResponseInformation } })
    return connack?.properties?.responseInformation
  }
  t.equal(told(1), 'reply/c1/')
  t.equal(told(0), undefined)
  t.equal(told(undefined), undefined)
  const without = await TestBroker.start()
  const connack = without.open().connect({ clientId: 'c', version: 5, properties: { requestResponseInformation: 1 } })
  t.equal(connack?.properties?.responseInformation, undefined)
})

t.test('Server Reference', async (t) => {
  const serverReference = 'other.example:1883'

  await t.test('sends everybody elsewhere who connects: for now with 0x9C, for good with 0x9D', async (t) => {
    for (const [when, reasonCode] of [
      ['temporary', ReasonCode.useAnotherServer],
      ['permanent', ReasonCode.serverMoved],
    ] as const) {
      const broker = await TestBroker.start({ settings: { redirect: { serverReference, when } } })
      const client = broker.open()
      t.match(client.connect({ clientId: 'c', version: 5 }), { reasonCode, properties: { serverReference } })
      t.ok(client.link.isEnded)
      const older = broker.open()
      older.sendBytes(wire("10 0d 0004'MQTT' 04 02 003c 0001'a'"))
      t.same([...older.link.take()], [0x20, 2, 0, 3], 'server unavailable')
    }
  })

  await t.test(
    'goes with the DISCONNECT when the broker stops, which has no Session Expiry Interval [MQTT-3.14.2-2]',
    async (t) => {
      const broker = await TestBroker.start({ settings: { redirect: { serverReference, when: 'shutdown' } } })
      const client = broker.connect({ clientId: 'c', version: 5 })
      broker.broker.stop()
      t.match(client.take(PacketType.disconnect), {
        reasonCode: ReasonCode.useAnotherServer,
        properties: { serverReference, sessionExpiryInterval: undefined },
      })
    },
  )
})

t.test('a will that its client may not publish is refused with CONNECT', async (t) => {
  const broker = await TestBroker.start({ authorizer: forbidden })
  const will = {
    topic: 'secret/will',
    payload: Buffer.from('x'),
    qos: 0 as const,
    retain: false,
    properties: undefined,
  }
  const client = broker.open()
  t.equal(client.connect({ clientId: 'c', version: 5, will })?.reasonCode, ReasonCode.notAuthorized)
  t.equal(broker.broker.counters.sessionCount, 0)
})

t.test('an acknowledgement of the wrong kind is a protocol error', async (t) => {
  const broker = await TestBroker.start()
  const publisher = broker.connect({ clientId: 'p' })
  for (const [qos, packet] of [
    [2, '40 02 0001'],
    [2, '70 02 0001'],
    [1, '50 02 0001'],
    [1, '70 02 0001'],
  ] as const) {
    const client = broker.connect({ clientId: 'c', version: 5 })
    client.subscribe('a', { qos })
    publisher.publish('a', 'x', { qos, packetId: 9 })
    if (qos === 2) publisher.sendBytes(wire('62 02 0009'))
    t.equal(client.takePublish().packetId, 1)
    client.sendBytes(wire(packet))
    t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.protocolError, packet)
  }
})

t.test('an acknowledgement of nothing is passed over; PUBREC gets PUBREL with 0x92', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5 })
  client.sendBytes(wire('40 02 0063 70 02 0063'))
  t.same(client.takeAll(), [])
  client.sendBytes(wire('50 02 0063'))
  t.match(client.take(PacketType.pubrel), { packetId: 0x63, reasonCode: ReasonCode.packetIdentifierNotFound })
  client.sendBytes(wire('62 02 0063'))
  t.match(client.take(PacketType.pubcomp), { packetId: 0x63, reasonCode: ReasonCode.packetIdentifierNotFound })
  t.notOk(client.link.isEnded)
})

t.test('a DISCONNECT of a client with a reason of servers is a protocol error [MQTT-3.14.2-1]', async (t) => {
  const broker = await TestBroker.start()
  for (const reasonCode of [ReasonCode.sessionTakenOver, ReasonCode.serverMoved, ReasonCode.serverShuttingDown]) {
    const client = broker.connect({ clientId: 'c', version: 5 })
    client.send({ type: PacketType.disconnect, reasonCode, properties: undefined })
    t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.protocolError)
  }
})
