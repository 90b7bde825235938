/** CONNECT, sessions and wills, statement by statement, in both versions where both have them. */
import t from 'tap'
import { PacketFault } from '../../src/protocol/fault.ts'
import { type Connack, type Connect, type Disconnect, PacketType, type Will } from '../../src/protocol/packet.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { TestBroker } from '../fakes/test-broker.ts'
import { decodeFrame, wire } from '../fixtures/wire.ts'

const versions = [4, 5] as const

function session(clientId: string, version: 4 | 5, cleanStart: boolean): Partial<Connect> & { clientId: string } {
  const properties = version === 5 ? { sessionExpiryInterval: 60 } : undefined
  return { clientId, version, cleanStart, properties }
}

function will(overrides: Partial<Will> = {}): Will {
  return { topic: 'will', payload: Buffer.from('gone'), qos: 0, retain: false, properties: undefined, ...overrides }
}

t.test(
  'the fields of CONNECT come in one order, and its flags promise them [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.2-9] [MQTT-3.1.2-17] [MQTT-3.1.2-19]',
  async (t) => {
    const fields = ["0001'i'", "0001'w'", "0001'm'", "0001'u'", "0001'p'"]
    const head = "0004'MQTT' 04 c6 003c"
    const whole = decodeFrame(wire(`10 19 ${head} ${fields.join(' ')}`), undefined) as Connect
    t.match(whole, { clientId: 'i', username: 'u', password: Buffer.from('p') })
    t.match(whole.will, { topic: 'w', payload: Buffer.from('m') })
    for (let count = 0; count < fields.length; count++) {
      const length = (10 + 3 * count).toString(16).padStart(2, '0')
      const cut = decodeFrame(wire(`10 ${length} ${head} ${fields.slice(0, count).join(' ')}`), undefined)
      t.ok(cut instanceof PacketFault, `without field ${count}`)
    }
  },
)

t.test('without its flag there is no user name and no password [MQTT-3.1.2-16] [MQTT-3.1.2-18]', async (t) => {
  const bare = decodeFrame(wire("10 0d 0004'MQTT' 04 02 003c 0001'i'"), undefined)
  t.match(bare, { username: undefined, password: undefined })
  for (const frame of [
    "10 10 0004'MQTT' 04 02 003c 0001'i' 0001'u'",
    "10 13 0004'MQTT' 04 82 003c 0001'i' 0001'u' 0001'p'",
  ]) {
    t.ok(decodeFrame(wire(frame), undefined) instanceof PacketFault)
  }
})

t.test(
  'client identifier, will topic and user name that are not UTF-8 are malformed [MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12]',
  async (t) => {
    for (const frame of [
      "10 0d 0004'MQTT' 04 02 003c 0001 ff",
      "10 12 0004'MQTT' 04 06 003c 0001'i' 0001 ff 0000",
      "10 10 0004'MQTT' 04 82 003c 0001'i' 0001 ff",
    ]) {
      const fault = decodeFrame(wire(frame), undefined)
      t.match(fault, { reasonCode: ReasonCode.malformedPacket }, frame)
    }
  },
)

t.test('client identifiers of 1 to 23 letters and digits are allowed [MQTT-3.1.3-5]', async (t) => {
  const broker = await TestBroker.start()
  const alphabet = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
  for (const version of [3, ...versions] as const) {
    for (let at = 0; at < alphabet.length; at++) {
      const clientId = alphabet.slice(at, at + 1 + (at % 23))
      t.equal(broker.open().connect({ clientId, version })?.reasonCode, ReasonCode.success, clientId)
    }
  }
})

t.test('a client without an identifier is served under one of its own [MQTT-3.1.3-6] [MQTT-3.1.3-7]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.open()
  const connack = client.connect({ clientId: '', version: 5, properties: { sessionExpiryInterval: 60 } })
  const clientId = connack?.properties?.assignedClientIdentifier ?? ''
  client.subscribe('a', { qos: 1 })
  client.drop()
  const again = broker.open().connect(session(clientId, 5, false))
  t.equal(again?.sessionPresent, true, 'it can come back with it')
  const older = [broker.open(), broker.open()]
  for (const one of older) one.connect({ clientId: '', version: 4 })
  t.notOk(older[0]?.link.isEnded, "two of 3.1.1 do not get in one another's way")
})

t.test('a client identifier that is refused is answered and the connection closed [MQTT-3.1.3-8]', async (t) => {
  const broker = await TestBroker.start()
  for (const version of versions) {
    const client = broker.open()
    t.equal(client.connect({ clientId: '$mine', version })?.reasonCode, ReasonCode.clientIdentifierNotValid)
    t.ok(client.link.isEnded)
  }
})

t.test(
  'Clean Start: 1 begins anew; 0 goes on with the session of the client identifier, or makes one [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.4-4] [MQTT-3.1.3-2]',
  async (t) => {
    for (const version of versions) {
      const broker = await TestBroker.start()
      const publisher = broker.connect({ clientId: 'p' })
      const first = broker.open()
      t.equal(first.connect(session('c', version, false))?.sessionPresent, false, 'made')
      first.subscribe('a', { qos: 1 })
      first.drop()
      publisher.publish('a', 'waiting', { qos: 1 })
      const second = broker.open()
      t.equal(second.connect(session('c', version, false))?.sessionPresent, true, 'gone on with')
      t.same(second.takePayloads(), ['waiting'])
      t.equal(broker.open().connect(session('other', version, false))?.sessionPresent, false, 'of nobody else')
      second.drop()
      const third = broker.open()
      t.equal(third.connect(session('c', version, true))?.sessionPresent, false, 'begun anew')
      publisher.publish('a', 'unheard', { qos: 1 })
      t.same(third.takePayloads(), [])
    }
  },
)

t.test('CONNECT is answered with one CONNACK, and no other follows [MQTT-3.1.4-5] [MQTT-3.2.0-2]', async (t) => {
  const broker = await TestBroker.start()
  for (const version of versions) {
    const client = broker.open()
    t.equal(client.connect({ clientId: 'c', version })?.reasonCode, ReasonCode.success)
    client.subscribe('a')
    client.publish('a', 'x', { qos: 1 })
    client.send({ type: PacketType.pingreq })
    client.connect({ clientId: 'c', version })
    t.equal(client.take(PacketType.connack), undefined)
  }
})

t.test('what comes behind a CONNECT that is refused is not processed [MQTT-3.1.4-6]', async (t) => {
  const broker = await TestBroker.start()
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('a')
  const client = broker.open()
  client.sendBytes(wire("10 0e 0004'MQTT' 04 02 003c 0002'$x' 30 04 0001'a' 'x' c0 00"))
  t.same([...client.link.take()], [0x20, 2, 0, 2])
  t.same(watcher.takePayloads(), [])
})

t.test('without Server Keep Alive that of the client holds [MQTT-3.2.2-22]', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.open()
  const connack = client.connect({ clientId: 'c', version: 5, keepAliveSeconds: 2 })
  t.equal(connack?.properties?.serverKeepAlive, undefined)
  broker.passMs(2800)
  t.notOk(client.link.isEnded)
  broker.passMs(400)
  t.ok(client.link.isEnded)
})

t.test(
  'a will is kept with its session, and published retained or not as it says [MQTT-3.1.2-7] [MQTT-3.1.2-14] [MQTT-3.1.2-15]',
  async (t) => {
    for (const version of versions) {
      for (const retain of [false, true]) {
        const broker = await TestBroker.start()
        const watcher = broker.connect({ clientId: 'w' })
        watcher.subscribe('will')
        const client = broker.connect({ ...session('c', version, false), will: will({ retain }) })
        t.same(watcher.takePayloads(), [], 'not while the connection is open')
        client.drop()
        t.same(watcher.takePayloads(), ['gone'])
        const late = broker.connect({ clientId: 'late' })
        late.subscribe('will')
        t.same(late.takePayloads(), retain ? ['gone'] : [])
      }
    }
  },
)

t.test('a connection without a will ends without one [MQTT3-3.1.2-12]', async (t) => {
  const broker = await TestBroker.start()
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('#')
  const before = broker.connect({ ...session('c', 4, false), will: will() })
  before.disconnect()
  broker.connect(session('c', 4, false)).drop()
  t.same(watcher.takePayloads(), [])
})

t.test(
  'user properties of a will keep their order, and its other properties are published [MQTT-3.1.3-10]',
  async (t) => {
    const broker = await TestBroker.start()
    const watcher = broker.connect({ clientId: 'w', version: 5 })
    watcher.subscribe('will')
    const userProperties = [
      ['b', '1'],
      ['a', '2'],
      ['b', '0'],
    ] as const
    const properties = { userProperties, contentType: 'text', correlationData: Buffer.from([1]), responseTopic: 'r' }
    broker.connect({ clientId: 'c', version: 5, will: will({ properties }) }).drop()
    t.match(watcher.takePublish().properties, properties)
  },
)

t.test(
  'a DISCONNECT of the broker is its last packet, and the connection is closed [MQTT-3.14.4-1] [MQTT-4.13.2-1]',
  async (t) => {
    const broker = await TestBroker.start()
    const client = broker.connect({ clientId: 'c', version: 5 })
    client.subscribe('a')
    const publish = wire("30 05 0001'a' 00 'x'")
    client.sendBytes(Buffer.concat([wire('36 07 0001 61 0001 00 00'), publish, wire('c0 00')]))
    broker.connect({ clientId: 'p' }).publish('a', 'late')
    const heard = client.takeAll()
    t.equal(heard.length, 1)
    t.equal((heard[0] as Disconnect).reasonCode, ReasonCode.malformedPacket)
    t.ok(client.link.isEnded)
    const refused = broker.open()
    t.ok(((refused.connect({ clientId: '$x', version: 5 }) as Connack).reasonCode ?? 0) >= 0x80)
    t.ok(refused.link.isEnded)
  },
)

t.test(
  'a session lasts while its connection is open, then for its expiry interval [MQTT-4.1.0-1] [MQTT-4.1.0-2] [MQTT-3.1.2-23]',
  async (t) => {
    const broker = await TestBroker.start()
    const publisher = broker.connect({ clientId: 'p' })
    const client = broker.connect(session('c', 5, true))
    client.subscribe('a', { qos: 1 })
    broker.passMs(120_000)
    publisher.publish('a', 'still here', { qos: 1 })
    t.same(client.takePayloads(), ['still here'], 'longer than the interval while it is open')
    client.drop()
    broker.passMs(59_000)
    const second = broker.open()
    t.equal(second.connect(session('c', 5, false))?.sessionPresent, true, 'kept until then')
    second.drop()
    broker.passMs(61_000)
    t.equal(broker.open().connect(session('c', 5, false))?.sessionPresent, false, 'and gone afterwards')
  },
)
