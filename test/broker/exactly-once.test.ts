/** QoS 2 to durable sessions when the process ends at any instant: what is stored before the client is told. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { type AckType, type Connect, PacketType } from '../../src/protocol/packet.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const durable = (clientId: string): Connect & { clientId: string } =>
  ({ clientId, version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } }) as Connect

/** For a store: a group commit holds when the test says so. */
class HeldClock extends VirtualClock {
  #commits: (() => void)[] = []

  get heldCount(): number {
    return this.#commits.length
  }

  override afterTurn(task: () => void): void {
    this.#commits.push(task)
  }

  commit(): void {
    const commits = this.#commits
    this.#commits = []
    for (const commit of commits) commit()
  }
}

/** Brokers one after the other over the same disk; what was not committed when the next one starts is gone. */
class Lives {
  readonly #disk = new MemoryDisk()
  storeClock = new HeldClock()
  #broker: TestBroker | undefined

  get broker(): TestBroker {
    return this.#broker as TestBroker
  }

  async start(): Promise<TestBroker> {
    const nowMs = this.#broker?.clock.nowMs() ?? 0
    this.storeClock = new HeldClock()
    const store = new MemoryStore({ clock: this.storeClock, random: new SeededRandom(2), disk: this.#disk })
    const clock = new VirtualClock(nowMs)
    this.#broker = await TestBroker.start({ clock, store, settings: { inflightMax: 4, queueCountMax: 1000 } })
    return this.#broker
  }

  commit(): void {
    this.storeClock.commit()
    this.broker.settle()
  }

  commitAll(): void {
    while (this.storeClock.heldCount > 0) this.commit()
  }
}

function answer(client: TestClient, type: AckType, packetId: number): void {
  client.send({ type, packetId, reasonCode: 0, properties: undefined })
}

t.test('a QoS 2 message leaves once its packet id is durable, and PUBREL once its reception is', async (t) => {
  const lives = new Lives()
  const broker = await lives.start()
  const subscriber = broker.connect(durable('s'))
  subscriber.subscribe('a', { qos: 2 })
  lives.commitAll()
  subscriber.takeAll()
  const publisher = broker.connect({ clientId: 'p' })
  publisher.publish('a', 'two', { qos: 2, packetId: 1 })
  publisher.publish('a', 'one', { qos: 1, packetId: 2 })
  lives.commit()
  t.same(subscriber.takeAll(), [], 'the messages are durable, the packet id is not, and the later one waits behind it')
  lives.commit()
  const [two, one] = subscriber.takeAll() as Publish[]
  t.same([two?.payload.toString(), two?.qos, two?.dup], ['two', 2, false])
  t.same([one?.payload.toString(), one?.qos, one?.dup], ['one', 1, false])
  const packetId = two?.packetId ?? 0
  answer(subscriber, PacketType.pubrec, packetId)
  t.same(subscriber.takeAll(), [])
  lives.commit()
  t.match(subscriber.takeAll(), [{ type: PacketType.pubrel, packetId }])
  answer(subscriber, PacketType.pubcomp, packetId)
  t.equal(lives.storeClock.heldCount, 0, 'the end of it costs no commit')
})

t.test('QoS 1, and QoS 2 to a session that ends with its connection, wait for nothing more', async (t) => {
  const lives = new Lives()
  const broker = await lives.start()
  const kept = broker.connect(durable('kept'))
  kept.subscribe('a', { qos: 1 })
  const passing = broker.connect({ clientId: 'passing' })
  passing.subscribe('a', { qos: 2 })
  lives.commitAll()
  broker.connect({ clientId: 'p' }).publish('a', 'x', { qos: 2, packetId: 1 })
  t.same(passing.takePayloads(), ['x'])
  lives.commit()
  t.same(kept.takePayloads(), ['x'])
  t.equal(lives.storeClock.heldCount, 0)
})

t.test(
  'QoS 1 that may have been sent before a crash comes with DUP, what was published since without [MQTT-3.3.1-1]',
  async (t) => {
    const lives = new Lives()
    await lives.start()
    const subscriber = lives.broker.connect(durable('s'))
    subscriber.subscribe('a', { qos: 1 })
    lives.commitAll()
    lives.broker.connect({ clientId: 'p' }).publish('a', 'before', { qos: 1 })
    lives.commitAll()
    t.equal(subscriber.takePublish().dup, false)

    await lives.start()
    lives.broker.connect({ clientId: 'p' }).publish('a', 'away', { qos: 1 })
    lives.commitAll()
    const again = lives.broker.connect(durable('s'))
    lives.commitAll()
    const messages = [again.takePublish(), again.takePublish()]
    t.same(
      messages.map(({ payload, dup }) => [payload.toString(), dup]),
      [
        ['before', true],
        ['away', false],
      ],
    )
  },
)

t.test('a packet id that a QoS 2 message without a place in the log had is not given away after a crash', async (t) => {
  const lives = new Lives()
  await lives.start()
  lives.broker.connect({ clientId: 'p' }).publish('a', 'retained', { qos: 2, retain: true })
  const subscriber = lives.broker.connect(durable('s'))
  subscriber.subscribe('a', { qos: 2 })
  lives.commitAll()
  const { packetId } = subscriber.takePublish()

  await lives.start()
  const again = lives.broker.connect(durable('s'))
  lives.commitAll()
  t.match(again.take(PacketType.pubrel), { packetId })
  lives.broker.connect({ clientId: 'p' }).publish('a', 'new', { qos: 2 })
  lives.commitAll()
  t.not(again.takePublish().packetId, packetId)
})

t.test('of messages that had one packet id only the last is open, also after a second crash', async (t) => {
  const lives = new Lives()
  await lives.start()
  const subscriber = lives.broker.connect(durable('s'))
  subscriber.subscribe('a', { qos: 2 })
  lives.commitAll()
  subscriber.drop()
  const publisher = lives.broker.connect({ clientId: 'p' })
  publisher.publish('a', 'one', { qos: 2, packetId: 1 })
  publisher.publish('a', 'two', { qos: 2, packetId: 2 })
  // As a run leaves it in which packet ids went round between the two.
  const { sessions } = lives.broker.store
  for (const seq of [0, 1, 2]) sessions.saveOutbound('s', { packetId: 7, seq, qos: 2, isReleased: seq === 1 })
  lives.commitAll()
  for (let life = 0; life < 2; life++) {
    await lives.start()
    const again = lives.broker.connect(durable('s'))
    lives.commitAll()
    const messages = again.takeAll().filter((packet) => packet instanceof Publish)
    t.same(
      messages.map(({ payload, packetId, dup }) => [payload.toString(), packetId, dup]),
      [['two', 7, true]],
    )
  }
})

t.test('a message that the log no longer holds is given up, and its packet id freed', async (t) => {
  const lives = new Lives()
  await lives.start()
  lives.broker.connect(durable('s')).subscribe('a', { qos: 2 })
  lives.commitAll()
  const publisher = lives.broker.connect({ clientId: 'p' })
  for (let packetId = 1; packetId <= 4; packetId++) publisher.publish('a', `${packetId}`, { qos: 2, packetId })
  lives.commitAll()
  lives.broker.store.log.trim(4)
  lives.commitAll()

  await lives.start()
  const again = lives.broker.connect(durable('s'))
  lives.broker.connect({ clientId: 'p' }).publish('a', '5', { qos: 2 })
  lives.commitAll()
  const freed = again.takeAll().filter((packet) => packet.type === PacketType.pubrel)
  t.equal(freed.length, 4)
  for (const packet of freed) answer(again, PacketType.pubcomp, 'packetId' in packet ? packet.packetId : 0)
  lives.commitAll()
  t.same(again.takePayloads(), ['5'])
})

t.test('what a client does not take any more frees its packet id, also when it is sent again', async (t) => {
  const lives = new Lives()
  await lives.start()
  lives.broker.connect(durable('s')).subscribe('a', { qos: 2 })
  lives.commitAll()
  const publisher = lives.broker.connect({ clientId: 'p' })
  for (let packetId = 1; packetId <= 4; packetId++) publisher.publish('a', 'x'.repeat(100), { qos: 2, packetId })
  publisher.publish('a', 'small', { qos: 2, packetId: 5 })
  lives.commitAll()
  const connect = durable('s')
  const small = lives.broker.connect({ ...connect, properties: { ...connect.properties, maximumPacketSize: 50 } })
  lives.commitAll()
  t.same(small.takePayloads(), ['small'])
  t.equal(lives.broker.broker.counters.dropped.tooLarge, 4)
})

/** A subscriber as the specification wants it, whose memory outlives its connections. */
class Receiver {
  readonly #lives: Lives
  #client: TestClient | undefined
  readonly #held = new Set<number>()
  /** Came and was not looked at yet. */
  #unread: ReturnType<TestClient['takeAll']> = []
  /** Packet ids of QoS 1 messages that it takes its time with. */
  #owed: number[] = []
  readonly seen: string[] = []

  constructor(lives: Lives) {
    this.#lives = lives
  }

  connect(): void {
    if (this.#client !== undefined) return
    this.#client = this.#lives.broker.connect(durable('s'))
  }

  subscribe(): void {
    this.#client?.subscribe('#', { qos: 2 })
  }

  drop(): void {
    this.#client?.drop()
    this.forget()
  }

  /** The broker is gone, and with it what was under way. */
  forget(): void {
    this.#client = undefined
    this.#unread = []
    this.#owed = []
  }

  /** @param owes leaves QoS 1 unacknowledged for now @returns how many packets there were */
  read(countMax: number, owes = false): number {
    const client = this.#client
    if (client === undefined) return 0
    this.#unread.push(...client.takeAll())
    const packets = this.#unread.splice(0, countMax)
    for (const packet of packets) {
      if (packet instanceof Publish) this.#receive(client, packet)
      else if (packet.type === PacketType.pubrel) {
        this.#held.delete(packet.packetId)
        answer(client, PacketType.pubcomp, packet.packetId)
      }
    }
    if (!owes) for (const packetId of this.#owed.splice(0)) answer(client, PacketType.puback, packetId)
    return packets.length
  }

  #receive(client: TestClient, { packetId, qos, retain, payload }: Publish): void {
    if (qos === 2) {
      if (!this.#held.has(packetId) && !retain) this.seen.push(payload.toString())
      this.#held.add(packetId)
      answer(client, PacketType.pubrec, packetId)
    } else {
      this.seen.push(payload.toString())
      if (qos === 1) this.#owed.push(packetId)
    }
  }
}

type Step =
  | { readonly publish: 1 | 2 }
  | { readonly read: number; readonly owes: boolean }
  | 'commit'
  | 'connect'
  | 'drop'
  | 'crash'
  | 'stop'
  | 'second'
  | 'subscribe'

const one = { publish: 1 } as const
const two = { publish: 2 } as const
const read = { read: 1, owes: false }

/** Each of these broke a cursor or an order in a broker with one rule of session.ts or deliver.ts left out. */
// biome-ignore format: a history reads as lines of steps
const histories: readonly (readonly Step[])[] = [
  [one, { read: 3, owes: false }, one, 'stop', read, one, 'commit', one, one, one, 'connect', one, 'second', 'commit',
    read, one, 'crash', one, 'commit', 'commit', 'commit', read],
  [one, two, one, 'crash', 'commit', 'commit', read, one, 'commit', 'drop', 'commit', read, read, one, 'commit',
    'commit', 'commit', one, 'stop', 'commit', 'connect', read, 'commit', read],
  [one, two, one, 'crash', 'commit', 'connect', read, one, 'commit', 'drop', read, 'commit', read, one, 'commit',
    'commit', 'commit', 'commit', 'commit', 'commit', read, one, 'connect', read],
]

t.test('whatever happens: QoS 2 once, QoS 1 at least once, in order', async (t) => {
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ publish: fc.constantFrom(1 as const, 2 as const) }) },
    { weight: 8, arbitrary: fc.record({ read: fc.integer({ min: 1, max: 4 }), owes: fc.boolean() }) },
    { weight: 8, arbitrary: fc.constant('commit' as const) },
    {
      weight: 4,
      arbitrary: fc.constantFrom('connect' as const, 'drop' as const, 'crash' as const, 'stop' as const),
    },
    { weight: 1, arbitrary: fc.constantFrom('second' as const, 'subscribe' as const) },
  )
  const property = fc.asyncProperty(
    fc.array(step, { minLength: 20, maxLength: 150 }),
    async (steps: readonly Step[]) => {
      const lives = new Lives()
      await lives.start()
      const receiver = new Receiver(lives)
      lives.broker.connect({ clientId: 'r' }).publish('retained', 'r', { qos: 2, retain: true })
      receiver.connect()
      receiver.subscribe()
      lives.commitAll()
      let published = 0
      const acknowledged: string[] = []
      for (const at of steps) {
        if (at === 'commit') lives.commit()
        else if (at === 'connect') receiver.connect()
        else if (at === 'drop') receiver.drop()
        else if (at === 'second') lives.broker.passMs(1000)
        else if (at === 'subscribe') receiver.subscribe()
        else if (at === 'crash' || at === 'stop') {
          if (at === 'stop') {
            lives.broker.broker.stop()
            lives.storeClock.commit()
          }
          receiver.forget()
          await lives.start()
        } else if ('read' in at) receiver.read(at.read, at.owes)
        else {
          const payload = `${++published}:${at.publish}`
          const publisher = lives.broker.connect({ clientId: `p${published}` })
          publisher.publish('a', payload, { qos: at.publish })
          lives.commit()
          if (publisher.take(at.publish === 1 ? PacketType.puback : PacketType.pubrec)) acknowledged.push(payload)
        }
      }
      receiver.connect()
      for (let quiet = 0; quiet < 3; ) {
        lives.commitAll()
        quiet = receiver.read(Number.POSITIVE_INFINITY) > 0 ? 0 : quiet + 1
      }
      lives.broker.passMs(1000)
      lives.commitAll()
      const first = [...new Set(receiver.seen)]
      const twice = receiver.seen.filter((payload, index) => receiver.seen.indexOf(payload) !== index)
      const lost = acknowledged.filter((payload) => !first.includes(payload))
      const doubled = twice.filter((payload) => payload.endsWith(':2'))
      const late = first.filter(
        (payload, index) => index > 0 && numberOf(payload) < numberOf(first[index - 1] as string),
      )
      const keptCount = lives.broker.store.log.messageCount
      assert.deepEqual({ lost, doubled, late, keptCount }, { lost: [], doubled: [], late: [], keptCount: 0 })
    },
  )
  const { SEED } = process.env
  const examples = histories.map((steps): [Step[]] => [[...steps]])
  await fc.assert(property, { numRuns: 300, examples, ...(SEED === undefined ? {} : { seed: Number(SEED) }) })
  t.pass('300 histories')
})

function numberOf(payload: string): number {
  return Number.parseInt(payload, 10)
}
