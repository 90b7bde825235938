/** Messages that travel together arrive as those that go one by one, which a closed passage makes all of them do. */
import fc from 'fast-check'
import t from 'tap'
import { noQueueLimits } from '../../src/broker/session-queue.ts'
import { encodePacket } from '../../src/protocol/encode.ts'
import { OutputBuffer, passage } from '../../src/protocol/output.ts'
import { type Connect, PacketType, type Qos, type Version } from '../../src/protocol/packet.ts'
import { encodePublish, Publish } from '../../src/protocol/packets/publish.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'

type Sent = {
  topic: string
  payloadBytes: number
  qos: Qos
  retain: boolean
  hasExpiry: boolean
  isPingBehind: boolean
}
type Subscribing = { how: keyof typeof kinds; filter: string }

const sent: fc.Arbitrary<Sent> = fc.record({
  topic: fc.constantFrom('a', 'a', 'a', 'b/c', 'b/d'),
  payloadBytes: fc.constantFrom(0, 1, 64, 64, 300, 1100, 5000),
  qos: fc.constantFrom<Qos>(0, 0, 0, 0, 0, 0, 1, 2),
  retain: fc.constantFrom(false, false, false, false, false, true),
  hasExpiry: fc.constantFrom(false, false, false, false, false, true),
  isPingBehind: fc.constantFrom(false, false, false, true),
})

/** What makes a subscriber different from others. */
const kinds = {
  plain: (client) => client.subscribe,
  newer: (client) => client.subscribe,
  numbered: (client) => (filter) => client.subscribe(filter, { id: 7 }),
  aliased: (client) => client.subscribe,
  small: (client) => client.subscribe,
  mounted: (client) => client.subscribe,
  keepsRetain: (client) => (filter) => client.subscribe(filter, { retainAsPublished: true }),
  qos1: (client) => (filter) => client.subscribe(filter, { qos: 1 }),
  member: (client) => (filter) => client.subscribe(`$share/g/${filter}`),
  durable: (client) => (filter) => client.subscribe(filter, { qos: 1 }),
  stuck: (client) => client.subscribe,
} satisfies Record<string, (client: TestClient) => (filter: string) => void>

const connects: Partial<Record<keyof typeof kinds, Partial<Connect>>> = {
  newer: { version: 5 },
  numbered: { version: 5 },
  aliased: { version: 5, properties: { topicAliasMaximum: 2 } },
  small: { version: 5, properties: { maximumPacketSize: 200 } },
  keepsRetain: { version: 5 },
  durable: { version: 5, cleanStart: false, properties: { sessionExpiryInterval: 100 } },
}

const subscribing: fc.Arbitrary<Subscribing> = fc.record({
  how: fc.constantFrom(...(Object.keys(kinds) as (keyof typeof kinds)[])),
  filter: fc.constantFrom('a', 'a', '#', 'b/+'),
})

function chunkOf(messages: readonly Sent[], version: Version): Buffer {
  const out = new OutputBuffer()
  for (const [index, { topic, payloadBytes, qos, retain, hasExpiry, isPingBehind }] of messages.entries()) {
    const message = Publish.create({ topic, payload: Buffer.alloc(payloadBytes, index) })
    const properties = hasExpiry ? { messageExpiryInterval: 60 } : undefined
    encodePublish(out, message, version, qos, retain, false, qos === 0 ? 0 : index + 1, properties, 1_000_000)
    if (isPingBehind) encodePacket(out, { type: PacketType.pingreq }, version)
  }
  return Buffer.concat(out.take())
}

/** What everybody was sent, and what the broker counted. */
async function relay(
  chunks: readonly (readonly Sent[])[],
  subscribers: readonly Subscribing[],
  version: Version,
  keepsQos0: boolean,
  isMounted: boolean,
): Promise<object> {
  const queueLimits = keepsQos0 ? { ...noQueueLimits, keepsQos0: true, countMax: 1000 } : noQueueLimits
  const broker = await TestBroker.start({ settings: { outputBytesMax: 8000, queueLimits, receiveMaximum: 1000 } })
  const clients = subscribers.map(({ how, filter }, index) => {
    const overrides = how === 'mounted' ? { mountpoint: 'b/' } : {}
    const client = broker.connect({ clientId: `${how}-${index}`, ...connects[how] }, overrides)
    kinds[how](client).call(client, filter)
    client.link.isStuck = how === 'stuck'
    return client
  })
  const publisher = broker.connect({ clientId: 'p', version }, isMounted ? { mountpoint: 'b/' } : {})
  publisher.subscribe('a', version === 5 ? { noLocal: true } : {})
  for (const chunk of chunks) publisher.sendBytes(chunkOf(chunk, version))
  const { sentMessages, sentBytes, receivedMessages, storedMessages, dropped } = broker.broker.counters
  return {
    sent: [...clients, publisher].map((client) => client.link.take().toString('hex')),
    counted: { sentMessages, sentBytes, receivedMessages, storedMessages, ...dropped },
  }
}

const { open } = passage

const qos0 = (payloadBytes: number): Sent => ({
  topic: 'a',
  payloadBytes,
  qos: 0,
  retain: false,
  hasExpiry: false,
  isPingBehind: false,
})

/** Two messages are as much as may leave in one turn; what has to be stored comes when they have left, or before. */
const fullTurn: Sent[] = [qos0(5000), qos0(5000), { ...qos0(1), retain: true }, { ...qos0(0), qos: 1 }, qos0(0)]
const twoOfA: Subscribing[] = [
  { how: 'durable', filter: 'a' },
  { how: 'plain', filter: 'a' },
]

t.test('together or one by one: everybody is sent the same bytes, and the same is dropped', async (t) => {
  t.teardown(() => {
    passage.open = open
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(sent, { minLength: 1, maxLength: 25 }), { minLength: 1, maxLength: 3 }),
      fc.array(subscribing, { minLength: 1, maxLength: 8 }),
      fc.constantFrom<Version>(4, 5),
      fc.constantFrom(false, false, true),
      fc.constantFrom(false, false, false, true),
      async (chunks, subscribers, version, keepsQos0, isMounted) => {
        passage.open = open
        const together = await relay(chunks, subscribers, version, keepsQos0, isMounted)
        passage.open = () => undefined
        const oneByOne = await relay(chunks, subscribers, version, keepsQos0, isMounted)
        return JSON.stringify(together) === JSON.stringify(oneByOne)
      },
    ),
    { numRuns: 150, examples: [[[fullTurn, [qos0(0)]], twoOfA, 4, false, false]] },
  )
})

t.test('a message for many subscribers is copied once, and all of them are sent the same memory', async (t) => {
  const broker = await TestBroker.start()
  const pieces: Buffer[] = []
  for (let index = 0; index < 20; index++) {
    const client = broker.connect({ clientId: `s${index}` })
    client.subscribe('a')
    client.link.send = (more) => {
      pieces.push(...more)
    }
  }
  const publisher = broker.connect({ clientId: 'p' })
  const chunk = chunkOf(Array(50).fill(qos0(64)), 4)
  publisher.sendBytes(chunk)
  t.equal(pieces.length, 20, 'one piece for each')
  t.ok(pieces.every((piece) => piece.equals(chunk)))
  t.equal(
    new Set(pieces.map(({ buffer, byteOffset }) => `${pieces.findIndex((one) => one.buffer === buffer)} ${byteOffset}`))
      .size,
    1,
  )
})
