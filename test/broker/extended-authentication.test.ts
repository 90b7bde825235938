/** Extended authentication with SCRAM-SHA-256, packet by packet. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeCredentials } from '../../src/adapters/auth-scram/credentials.ts'
import { ScramSha256 } from '../../src/adapters/auth-scram/scram.ts'
import { changeUser } from '../../src/adapters/auth-scram/users-file.ts'
import type { Authorizer } from '../../src/ports/auth.ts'
import { type Auth, type Connack, type Disconnect, PacketType } from '../../src/protocol/packet.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { ScramClient } from '../fixtures/scram-client.ts'
import { wire } from '../fixtures/wire.ts'

const authenticationMethod = 'SCRAM-SHA-256'
const closed = { allowAnonymous: false }

async function start(t: Test, options: { authorizer?: Authorizer } = {}): Promise<TestBroker> {
  const path = join(t.testdir({}), 'users.scram')
  for (const name of ['pump', 'valve']) changeUser(path, name, makeCredentials('secret', Buffer.alloc(16, 1), 4096))
  return TestBroker.start({ ...options, authenticationMethods: [new ScramSha256(path, new SeededRandom(1))] })
}

function sendAuth(
  client: TestClient,
  reasonCode: ReasonCode,
  authenticationData: Buffer,
  method = authenticationMethod,
) {
  const properties = { authenticationMethod: method, authenticationData }
  client.send({ type: PacketType.auth, reasonCode: reasonCode as Auth['reasonCode'], properties })
}

/** A client that was asked the question of the broker. */
function asked(broker: TestBroker, scram: ScramClient): { client: TestClient; question: Buffer } {
  const client = broker.open(closed)
  const properties = { authenticationMethod, authenticationData: scram.first }
  client.connect({ clientId: 'c', version: 5, properties })
  const auth = client.take(PacketType.auth) as Auth
  return { client, question: auth.properties?.authenticationData ?? Buffer.alloc(0) }
}

function letIn(broker: TestBroker, name = 'pump'): TestClient {
  const scram = new ScramClient(name, 'secret')
  const { client, question } = asked(broker, scram)
  sendAuth(client, ReasonCode.continueAuthentication, scram.final(question))
  t.equal((client.take(PacketType.connack) as Connack).reasonCode, ReasonCode.success)
  return client
}

t.test(
  'the broker asks with AUTH 0x18 and lets in with CONNACK, both with the method [MQTT-4.12.0-2] [MQTT-4.12.0-5]',
  async (t) => {
    const broker = await start(t)
    const scram = new ScramClient('pump', 'secret')
    const client = broker.open(closed)
    client.connect({ clientId: 'c', version: 5, properties: { authenticationMethod, authenticationData: scram.first } })
    const auth = client.take(PacketType.auth) as Auth
    t.match(auth, { reasonCode: ReasonCode.continueAuthentication, properties: { authenticationMethod } })
    t.same(client.takeAll(), [], 'and CONNACK waits')
    sendAuth(
      client,
      ReasonCode.continueAuthentication,
      scram.final(auth.properties?.authenticationData ?? Buffer.alloc(0)),
    )
    const connack = client.take(PacketType.connack) as Connack
    t.match(connack, { reasonCode: ReasonCode.success, properties: { authenticationMethod } })
    t.equal(connack.properties?.authenticationData?.toString(), scram.signature)
    client.subscribe('a')
    client.publish('a', 'x')
    t.same(client.takePayloads(), ['x'])
  },
)

t.test('whoever proves nothing is refused with 0x87, and the connection is closed [MQTT-4.12.0-4]', async (t) => {
  const broker = await start(t)
  const scram = new ScramClient('pump', 'wrong')
  const { client, question } = asked(broker, scram)
  sendAuth(client, ReasonCode.continueAuthentication, scram.final(question))
  t.equal((client.take(PacketType.connack) as Connack).reasonCode, ReasonCode.notAuthorized)
  t.ok(client.link.isEnded)
  t.equal(broker.broker.counters.sessionCount, 0)
})

t.test('a method that the broker does not have is refused with 0x8C [MQTT-4.12.0-1]', async (t) => {
  const broker = await start(t)
  const client = broker.open()
  const connack = client.connect({ clientId: 'c', version: 5, properties: { authenticationMethod: 'SCRAM-SHA-1' } })
  t.equal(connack?.reasonCode, ReasonCode.badAuthenticationMethod)
  t.ok(client.link.isEnded)
})

t.test('users do not open a listener to those without a method', async (t) => {
  const broker = await start(t)
  const client = broker.open(closed)
  t.equal(client.connect({ clientId: 'c', version: 5, username: 'pump' })?.reasonCode, ReasonCode.notAuthorized)
  const demanding = broker.open({ ...closed, requireIdentity: true })
  const properties = { authenticationMethod, authenticationData: new ScramClient('pump', 'secret').first }
  const connack = demanding.connect({ clientId: 'c', version: 5, properties })
  t.equal(connack?.reasonCode, ReasonCode.notAuthorized, 'a certificate that is demanded is demanded of users too')
})

t.test('the rules of access know who proved to be whom', async (t) => {
  const seen: (string | undefined)[] = []
  const authorizer: Authorizer = {
    mayPublish: ({ username }) => seen.push(username) > 0,
    maySubscribe: () => true,
  }
  const broker = await start(t, { authorizer })
  letIn(broker).publish('a', 'x')
  t.same(seen, ['pump'])
})

t.test('before CONNACK a client may send AUTH and DISCONNECT alone [MQTT-3.1.2-30]', async (t) => {
  const broker = await start(t)
  for (const early of ['c0 00', '30 05 0001 61 00 78', '32 07 0001 61 0001 00 78', '82 06 0001 00 0000 00']) {
    const { client } = asked(broker, new ScramClient('pump', 'secret'))
    client.sendBytes(wire(early))
    t.equal((client.take(PacketType.connack) as Connack).reasonCode, ReasonCode.protocolError)
    t.ok(client.link.isEnded)
  }
  const leaving = asked(broker, new ScramClient('pump', 'secret')).client
  leaving.send({ type: PacketType.disconnect, reasonCode: 0, properties: undefined })
  t.same(leaving.takeAll(), [])
  t.ok(leaving.link.isEnded)
})

t.test('an answer has the reason 0x18 and the method of CONNECT [MQTT-4.12.0-3]', async (t) => {
  const broker = await start(t)
  for (const [reasonCode, method] of [
    [ReasonCode.reAuthenticate, authenticationMethod],
    [ReasonCode.success, authenticationMethod],
    [ReasonCode.continueAuthentication, 'SCRAM-SHA-1'],
  ] as const) {
    const scram = new ScramClient('pump', 'secret')
    const { client, question } = asked(broker, scram)
    sendAuth(client, reasonCode, scram.final(question), method)
    t.equal((client.take(PacketType.connack) as Connack).reasonCode, ReasonCode.protocolError)
    t.ok(client.link.isEnded)
  }
})

t.test('a client that does not answer is cut off after the connect timeout', async (t) => {
  const broker = await start(t)
  const { client } = asked(broker, new ScramClient('pump', 'secret'))
  broker.passMs(16_000)
  t.ok(client.link.isDestroyed)
  t.equal(broker.broker.counters.sessionCount, 0)
})

t.test('CONNECT without a method gets neither AUTH nor a method in CONNACK [MQTT-4.12.0-6]', async (t) => {
  const broker = await start(t)
  const connack = broker.open().connect({ clientId: 'c', version: 5 })
  t.equal(connack?.properties?.authenticationMethod, undefined)
  t.equal(connack?.properties?.authenticationData, undefined)
})

t.test('authentication anew while the connection is open', async (t) => {
  await t.test('ends with AUTH 0x00, and everything else goes on meanwhile', async (t) => {
    const broker = await start(t)
    const client = letIn(broker)
    client.subscribe('a')
    const scram = new ScramClient('pump', 'secret')
    sendAuth(client, ReasonCode.reAuthenticate, scram.first)
    const question = client.take(PacketType.auth) as Auth
    t.equal(question.reasonCode, ReasonCode.continueAuthentication)
    client.publish('a', 'in between')
    t.same(client.takePayloads(), ['in between'])
    sendAuth(
      client,
      ReasonCode.continueAuthentication,
      scram.final(question.properties?.authenticationData ?? Buffer.alloc(0)),
    )
    const end = client.take(PacketType.auth) as Auth
    t.match(end, { reasonCode: ReasonCode.success, properties: { authenticationMethod } })
    t.equal(end.properties?.authenticationData?.toString(), scram.signature)
    t.notOk(client.link.isEnded)
  })

  await t.test('that fails, or proves somebody else, ends with DISCONNECT 0x87 [MQTT-4.12.1-2]', async (t) => {
    const broker = await start(t)
    for (const scram of [new ScramClient('pump', 'wrong'), new ScramClient('valve', 'secret')]) {
      const client = letIn(broker)
      sendAuth(client, ReasonCode.reAuthenticate, scram.first)
      const { properties } = client.take(PacketType.auth) as Auth
      sendAuth(
        client,
        ReasonCode.continueAuthentication,
        scram.final(properties?.authenticationData ?? Buffer.alloc(0)),
      )
      t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.notAuthorized)
      t.ok(client.link.isEnded)
    }
  })

  await t.test('by another method, or out of turn, is a protocol error [MQTT-4.12.1-1]', async (t) => {
    const broker = await start(t)
    const { first } = new ScramClient('pump', 'secret')
    for (const [reasonCode, method] of [
      [ReasonCode.reAuthenticate, 'SCRAM-SHA-1'],
      [ReasonCode.continueAuthentication, authenticationMethod],
    ] as const) {
      const client = letIn(broker)
      sendAuth(client, reasonCode, first, method)
      t.equal((client.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.protocolError)
    }
    const twice = letIn(broker)
    sendAuth(twice, ReasonCode.reAuthenticate, first)
    sendAuth(twice, ReasonCode.reAuthenticate, first)
    t.equal((twice.take(PacketType.disconnect) as Disconnect).reasonCode, ReasonCode.protocolError)
  })
})
