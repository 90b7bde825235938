/** The state machine of a connection: every event in every state, then the details of CONNECT and of the end. */
import t from 'tap'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { Connection, type ConnectionStage } from '../../src/broker/connection.ts'
import type { AuthenticationExchange, AuthenticationStep } from '../../src/ports/auth.ts'
import { type Connack, type Disconnect, PacketType } from '../../src/protocol/packet.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { OneOfSeveral } from '../fakes/one-of-several.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

type State = ConnectionStage

const events = {
  connect: (world: World) =>
    world.client.connect({ clientId: 'c', version: 5, properties: { authenticationMethod: 'steps' } }),
  pingreq: (world: World) => world.client.send({ type: PacketType.pingreq }),
  disconnect: (world: World) =>
    world.client.send({ type: PacketType.disconnect, reasonCode: ReasonCode.success, properties: undefined }),
  malformed: (world: World) => world.client.sendBytes(Buffer.from([0xf7, 0x00])),
  auth: (world: World) =>
    world.client.send({
      type: PacketType.auth,
      reasonCode: ReasonCode.continueAuthentication,
      properties: { authenticationMethod: 'steps' },
    }),
  allowed: (world: World) => world.answer({ kind: 'proved', username: '', data: undefined }),
  challenged: (world: World) => world.answer({ kind: 'challenge', data: undefined }),
  claimed: (world: World) => world.several.claims[0]?.grant(),
  'claim refused': (world: World) => world.several.claims[0]?.refuse(),
  refused: (world: World) => world.answer({ kind: 'refused', reasonCode: ReasonCode.notAuthorized, why: '' }),
  silence: (world: World) => world.broker.passMs(20_000),
  close: (world: World) => world.connection.close(ReasonCode.administrativeAction, 'test'),
  'link closed': (world: World) => world.client.drop(),
} as const
type Event = keyof typeof events

/** Every event in every state. `Record`, so that a forgotten pair does not compile. */
const table: Record<State, Record<Event, State>> = {
  'awaiting-connect': {
    connect: 'authenticating',
    auth: 'closing',
    challenged: 'awaiting-connect',
    pingreq: 'closing',
    disconnect: 'closing',
    malformed: 'closing',
    allowed: 'awaiting-connect',
    claimed: 'awaiting-connect',
    'claim refused': 'awaiting-connect',
    refused: 'awaiting-connect',
    silence: 'closing',
    close: 'closing',
    'link closed': 'closed',
  },
  authenticating: {
    connect: 'authenticating',
    auth: 'authenticating',
    challenged: 'challenged',
    pingreq: 'authenticating',
    disconnect: 'authenticating',
    malformed: 'authenticating',
    allowed: 'claiming',
    claimed: 'authenticating',
    'claim refused': 'authenticating',
    refused: 'closing',
    silence: 'closing',
    close: 'closing',
    'link closed': 'closed',
  },
  challenged: {
    connect: 'closing',
    auth: 'authenticating',
    challenged: 'challenged',
    pingreq: 'closing',
    disconnect: 'closing',
    malformed: 'closing',
    allowed: 'challenged',
    claimed: 'challenged',
    'claim refused': 'challenged',
    refused: 'challenged',
    silence: 'closing',
    close: 'closing',
    'link closed': 'closed',
  },
  // Nothing of the client is read, as before; the method has said all it will.
  claiming: {
    connect: 'claiming',
    auth: 'claiming',
    challenged: 'claiming',
    pingreq: 'claiming',
    disconnect: 'claiming',
    malformed: 'claiming',
    allowed: 'claiming',
    claimed: 'open',
    'claim refused': 'closing',
    refused: 'claiming',
    silence: 'closing',
    close: 'closing',
    'link closed': 'closed',
  },
  open: {
    connect: 'closing',
    auth: 'closing',
    challenged: 'open',
    pingreq: 'open',
    disconnect: 'closing',
    malformed: 'closing',
    allowed: 'open',
    claimed: 'open',
    'claim refused': 'open',
    refused: 'open',
    silence: 'open',
    close: 'closing',
    'link closed': 'closed',
  },
  closing: {
    connect: 'closing',
    auth: 'closing',
    challenged: 'closing',
    pingreq: 'closing',
    disconnect: 'closing',
    malformed: 'closing',
    allowed: 'closing',
    claimed: 'closing',
    'claim refused': 'closing',
    refused: 'closing',
    silence: 'closing',
    close: 'closing',
    'link closed': 'closed',
  },
  closed: {
    connect: 'closed',
    auth: 'closed',
    challenged: 'closed',
    pingreq: 'closed',
    disconnect: 'closed',
    malformed: 'closed',
    allowed: 'closed',
    claimed: 'closed',
    'claim refused': 'closed',
    refused: 'closed',
    silence: 'closed',
    close: 'closed',
    'link closed': 'closed',
  },
}

type World = {
  broker: TestBroker
  several: OneOfSeveral
  client: TestClient
  connection: Connection
  answer: (step: AuthenticationStep) => void
}

/** A client with extended authentication, whose every step the test answers, and the claim to its session, too. */
async function worldIn(state: State): Promise<World> {
  let answer: (step: AuthenticationStep) => void = () => {}
  const exchange: AuthenticationExchange = {
    step(_data, later) {
      let isAnswered = false
      answer = (step) => {
        if (!isAnswered) later(step)
        isAnswered = true
      }
    },
  }
  const clock = new VirtualClock()
  const several = new OneOfSeveral(new MemoryStore({ clock, random: new SeededRandom(1) }))
  const authenticationMethods = [{ name: 'steps', begin: () => exchange }]
  const broker = await TestBroker.start({ clock, store: several.store, authenticationMethods })
  const client = broker.open()
  client.version = 5
  const connection = client.link.owner
  if (!(connection instanceof Connection)) throw new Error('not a connection')
  const world = { broker, several, client, connection, answer: (step: AuthenticationStep) => answer(step) }
  if (state !== 'awaiting-connect') events.connect(world)
  if (state === 'challenged') events.challenged(world)
  if (state === 'claiming' || state === 'open' || state === 'closing') events.allowed(world)
  if (state === 'open' || state === 'closing') events.claimed(world)
  if (state === 'closing') events.close(world)
  if (state === 'closed') events['link closed'](world)
  client.takeAll()
  return world
}

t.test('every event in every state leads where the table says', async (t) => {
  for (const state of Object.keys(table) as State[]) {
    for (const event of Object.keys(events) as Event[]) {
      const world = await worldIn(state)
      t.equal(world.connection.state, state, `reached ${state}`)
      events[event](world)
      t.equal(world.connection.state, table[state][event], `${state} + ${event}`)
    }
  }
})

t.test('a first packet that is not CONNECT closes the connection [MQTT-3.1.0-1]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.open()
  client.send({ type: PacketType.pingreq })
  t.ok(client.link.isDestroyed)
  t.same(client.takeAll(), [])
})

t.test('a second CONNECT closes the connection [MQTT-3.1.0-2]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5 })
  client.connect({ clientId: 'c', version: 5 })
  t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.protocolError)
  t.ok(client.link.isEnded)
})

t.test('packets sent before the answer to CONNECT wait for it, in order', async (t) => {
  const world = await worldIn('awaiting-connect')
  const { client } = world
  events.connect(world)
  t.ok(client.link.isPaused, 'the link is paused meanwhile')
  client.subscribe('a')
  client.publish('a', '1')
  t.same(client.takeAll(), [], 'nothing is answered')
  events.allowed(world)
  t.same(client.takeAll(), [], 'nor before its session is its own')
  events.claimed(world)
  world.broker.settle()
  t.same(
    client.takeAll().map((packet) => packet.type),
    [PacketType.connack, PacketType.publish, PacketType.suback], // Of which the last waits for a commit.
  )
})

t.test('CONNACK is the first packet that a client gets [MQTT-3.2.0-1]', async (t) => {
  const broker = await TestBroker.start()
  const first = broker.connect({
    clientId: 'c',
    version: 5,
    cleanStart: false,
    properties: { sessionExpiryInterval: 60 },
  })
  first.subscribe('a', { qos: 1 })
  first.drop()
  broker.connect({ clientId: 'p' }).publish('a', 'waiting', { qos: 1 })
  const second = broker.open()
  second.version = 5
  second.connect({ clientId: 'c', version: 5, cleanStart: false, properties: { sessionExpiryInterval: 60 } })
  t.same(second.takePayloads(), ['waiting'])
})

t.test(
  'a refused client gets CONNACK without session present [MQTT-3.2.2-6], and the connection is closed [MQTT-3.1.4-2] [MQTT-3.2.2-7]',
  async (t) => {
    const world = await worldIn('authenticating')
    world.answer({ kind: 'refused', reasonCode: ReasonCode.badUserNameOrPassword, why: '' })
    world.broker.settle()
    const connack = world.client.take(PacketType.connack) as Connack
    t.equal(connack.reasonCode, ReasonCode.badUserNameOrPassword)
    t.equal(connack.sessionPresent, false)
    t.ok(world.client.link.isEnded)
  },
)

t.test('a malformed CONNECT closes the connection without an answer [MQTT-3.1.4-1]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.open()
  client.sendBytes(Buffer.from([0x10, 0x04, 0x00, 0x04, 0x4d, 0x51]))
  t.ok(client.link.isDestroyed)
})

t.test('a broken CONNECT of a 5.0 client is answered with what is wrong', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.open()
  client.version = 5
  client.sendBytes(Buffer.from([0x10, 0x0d, 0, 4, 0x4d, 0x51, 0x54, 0x54, 5, 3, 0, 0, 0, 0, 0]))
  t.equal((client.take(PacketType.connack) as Connack).reasonCode, ReasonCode.malformedPacket)
  t.ok(client.link.isEnded)
})

t.test('an unknown protocol level is answered with a refusal [MQTT-3.1.2-2]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.open()
  client.sendBytes(Buffer.from([0x10, 0x0c, 0, 4, 0x4d, 0x51, 0x54, 0x54, 9, 2, 0, 0, 0, 0]))
  const connack = client.take(PacketType.connack) as Connack
  t.equal(connack.reasonCode, ReasonCode.unsupportedProtocolVersion)
})

t.test('an authentication method we do not know is refused [MQTT-4.12.0-1]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.open()
  const connack = client.connect({ clientId: 'c', version: 5, properties: { authenticationMethod: 'X' } })
  t.equal(connack?.reasonCode, ReasonCode.badAuthenticationMethod)
})

t.test('AUTH from a client without an authentication method is a protocol error [MQTT-4.12.0-7]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5 })
  client.send({
    type: PacketType.auth,
    reasonCode: ReasonCode.reAuthenticate,
    properties: { authenticationMethod: 'X' },
  })
  t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.protocolError)
})

t.test(
  'a malformed packet is answered with DISCONNECT in 5.0, and the connection is closed [MQTT-4.13.1-1]',
  async (t) => {
    const broker = await TestBroker.start()
    const client = broker.connect({ clientId: 'c', version: 5 })
    client.sendBytes(Buffer.from([0x36, 0x03, 0x00, 0x01, 0x61]))
    t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.malformedPacket)
    t.ok(client.link.isEnded)
    const older = broker.connect({ clientId: 'd', version: 4 })
    older.sendBytes(Buffer.from([0x36, 0x03, 0x00, 0x01, 0x61]))
    t.same(older.takeAll(), [], '3.1.1 has no such packet')
    t.ok(older.link.isEnded)
  },
)

t.test('a client id that begins with $ is refused: those are sessions inside the house', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.open()
  t.equal(client.connect({ clientId: '$bridge/up' })?.reasonCode, ReasonCode.clientIdentifierNotValid)
})

t.test('a client without an id gets one that no other has [MQTT-3.2.2-16]', async (t) => {
  const broker = await TestBroker.start()
  const ids = [broker.open(), broker.open()].map(
    (client) => client.connect({ clientId: '', version: 5 })?.properties?.assignedClientIdentifier,
  )
  t.match(ids[0], /^auto-[0-9a-f]{24}$/)
  t.not(ids[0], ids[1])
})

t.test(
  'CONNACK tells the limits, and the keep-alive that holds instead of the one asked for [MQTT-3.2.2-21]',
  async (t) => {
    const broker = await TestBroker.start({ settings: { keepAliveSecondsMax: 30, sessionExpirySecondsMax: 100 } })
    const connack = broker.open().connect({
      clientId: 'c',
      version: 5,
      keepAliveSeconds: 0,
      properties: { sessionExpiryInterval: 1000 },
    })
    t.match(connack?.properties, {
      serverKeepAlive: 30,
      sessionExpiryInterval: 100,
      receiveMaximum: 20,
      maximumPacketSize: 65_536,
      topicAliasMaximum: 4,
    })
  },
)

t.test('a client that is silent for 1.5 times its keep-alive is disconnected [MQTT-3.1.2-22]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5, keepAliveSeconds: 10 })
  broker.passMs(14_000)
  client.send({ type: PacketType.pingreq })
  t.ok(client.take(PacketType.pingresp), 'PINGREQ is answered [MQTT-3.12.4-1]')
  broker.passMs(14_500)
  t.notOk(client.link.isEnded, 'counted from the last packet')
  broker.passMs(1000)
  t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.keepAliveTimeout)
  t.ok(client.link.isEnded)
  t.equal(broker.broker.counters.keepAliveTimeouts, 1)
})

t.test('a connection without CONNECT is closed after the connect timeout', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.open()
  broker.passMs(14_500)
  t.notOk(client.link.isDestroyed)
  broker.passMs(1000)
  t.ok(client.link.isDestroyed)
})

t.test('the same client id from elsewhere takes over: the old connection is told 0x8E [MQTT-3.1.4-3]', async (t) => {
  const broker = await TestBroker.start()
  const first = broker.connect({ clientId: 'c', version: 5 })
  broker.connect({ clientId: 'c', version: 4 })
  t.equal((first.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.sessionTakenOver)
  t.ok(first.link.isEnded)
  t.equal(broker.broker.counters.sessionCount, 1)
})

t.test('at shutdown 5.0 clients are told 0x8B and every link is ended [MQTT-3.14.4-2]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5 })
  const older = broker.connect({ clientId: 'd', version: 4 })
  broker.broker.stop()
  t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.serverShuttingDown)
  t.ok(client.link.isEnded && older.link.isEnded)
})

t.test('a client that waits for the answer to its CONNECT is sent no DISCONNECT [MQTT-3.14.0-1]', async (t) => {
  const world = await worldIn('authenticating')
  world.broker.broker.stop()
  t.same(world.client.takeAll(), [])
  t.ok(world.client.link.isEnded)
})

t.test('closed connections leave nothing behind', async (t) => {
  const broker = await TestBroker.start()
  for (let i = 0; i < 100; i++) {
    const client = broker.connect({ clientId: `c${i}` })
    client.subscribe('a/+')
    client.drop()
  }
  t.equal(broker.broker.counters.connectionCount, 0)
  t.equal(broker.broker.counters.sessionCount, 0)
})
