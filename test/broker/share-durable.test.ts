/** Shared subscriptions over absences, crashes and whatever else members do: nothing is lost, doubled or kept for ever. */
import fc from 'fast-check'
import t from 'tap'
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { PacketType } from '../../src/protocol/packet.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'
import { drain, durable, join, messagesOf, oneTo, publishAll } from './share-members.ts'

t.test('a group with durable members', async (t) => {
  async function world() {
    const clock = new VirtualClock()
    const disk = new MemoryDisk()
    const start = () =>
      TestBroker.start({ clock, store: new MemoryStore({ clock, random: new SeededRandom(2), disk }) })
    return { start, broker: await start() }
  }
  function joinDurable(broker: TestBroker, clientId: string, qos: 0 | 1 | 2 = 1): TestClient {
    const client = broker.connect(durable(clientId))
    client.subscribe('$share/g/a/#', { qos })
    return client
  }

  await t.test('stores a message once, and keeps it while everybody is away', async (t) => {
    const { broker } = await world()
    joinDurable(broker, 'd1').drop()
    joinDurable(broker, 'd2').drop()
    const publisher = broker.connect({ clientId: 'p' })
    publishAll(publisher, oneTo(30), 1)
    t.equal(broker.broker.counters.storedMessages, 30)
    t.same(drain(joinDurable(broker, 'd2')), oneTo(30), 'whoever is back first')
    t.same(drain(joinDurable(broker, 'd1')), [])
    broker.passMs(2000)
    t.equal(broker.store.log.messageCount, 0, 'nothing is kept for those who were away')
  })

  await t.test('stores nothing for members of QoS 0', async (t) => {
    const { broker } = await world()
    joinDurable(broker, 'd1', 0)
    join(broker, 'm', 1)
    publishAll(broker.connect({ clientId: 'p' }), oneTo(4), 1)
    t.equal(broker.broker.counters.storedMessages, 0)
  })

  await t.test('becomes durable with its first durable member, and loses nothing on the way', async (t) => {
    const { broker } = await world()
    const plain = join(broker, 'plain', 1)
    const publisher = broker.connect({ clientId: 'p' })
    publishAll(publisher, oneTo(12), 1)
    const kept = joinDurable(broker, 'kept')
    publisher.publish('a/b', '13', { qos: 1 })
    t.equal(broker.broker.counters.storedMessages, 1)
    t.same(
      drain(plain, kept)
        .map(Number)
        .sort((a, b) => a - b)
        .map(String),
      oneTo(13),
    )
    t.equal(broker.broker.counters.takeovers, 0)
  })

  await t.test('sends again to the same member as DUP when nobody else is there', async (t) => {
    const { broker } = await world()
    const first = joinDurable(broker, 'd1')
    first.subscribe('$share/g/a/#', { qos: 1, id: 7 })
    publishAll(broker.connect({ clientId: 'p' }), ['x'], 1)
    const { packetId } = first.takePublish()
    first.drop()
    const again = broker.connect(durable('d1'))
    t.match(messagesOf(again), [{ packetId, dup: true, properties: { subscriptionIdentifiers: [7] } }])
    again.puback(packetId)
    broker.passMs(2000)
    t.equal(broker.store.log.messageCount, 0)
  })

  await t.test('gives what a member had to another one as soon as that is there', async (t) => {
    const { broker } = await world()
    const first = joinDurable(broker, 'd1')
    publishAll(broker.connect({ clientId: 'p' }), oneTo(12), 1)
    first.drop()
    const second = joinDurable(broker, 'd2')
    t.same(drain(second), [...oneTo(8), '9', '10', '11', '12'])
    t.same(drain(broker.connect(durable('d1'))), [], 'and not to the first one as well')
  })

  await t.test('completes QoS 2 with the member that it was begun with [MQTT-4.8.2-4]', async (t) => {
    const { broker } = await world()
    const first = joinDurable(broker, 'd1', 2)
    const publisher = broker.connect({ clientId: 'p' })
    publisher.publish('a/b', 'x', { qos: 2, packetId: 1 })
    const { packetId } = first.takePublish()
    first.drop()
    const second = joinDurable(broker, 'd2', 2)
    t.same(second.takePayloads(), [])
    const again = broker.connect(durable('d1'))
    t.match(messagesOf(again), [{ packetId, dup: true, qos: 2 }])
    again.send({ type: PacketType.pubrec, packetId, reasonCode: 0, properties: undefined })
    again.send({ type: PacketType.pubcomp, packetId, reasonCode: 0, properties: undefined })
    broker.passMs(2000)
    t.equal(broker.store.log.messageCount, 0)
  })

  await t.test('is there after a crash with what nobody acknowledged', async (t) => {
    const { start, broker } = await world()
    const first = joinDurable(broker, 'd1')
    joinDurable(broker, 'd2').drop()
    publishAll(broker.connect({ clientId: 'p' }), oneTo(12), 1)
    const [one, two] = messagesOf(first)
    first.puback(one?.packetId ?? 0)
    first.puback(two?.packetId ?? 0)
    broker.passMs(1500)

    const after = await start()
    t.same(drain(after.connect(durable('d2'))), oneTo(12).slice(2))
    t.same(drain(after.connect(durable('d1'))), [])
    publishAll(after.connect({ clientId: 'p' }), ['new'], 1)
    after.passMs(1500)
    t.equal(after.broker.counters.storedMessages, 1)
  })

  await t.test('is there after an orderly stop, which does not send anything round', async (t) => {
    const { start, broker } = await world()
    const members = [joinDurable(broker, 'd1'), joinDurable(broker, 'd2')] as const
    publishAll(broker.connect({ clientId: 'p' }), oneTo(6), 1)
    broker.broker.stop()
    await broker.store.close()
    t.same(
      members.map((member) => messagesOf(member).length),
      [3, 3],
    )

    const after = await start()
    t.same(drain(after.connect(durable('d1'))), oneTo(6))
  })

  await t.test('ends with its last member, in the store too', async (t) => {
    const { start, broker } = await world()
    const member = joinDurable(broker, 'd1')
    member.send({ type: PacketType.unsubscribe, packetId: 2, topicFilters: ['$share/g/a/#'], properties: undefined })
    t.equal(broker.broker.counters.sessionCount, 1, 'that of the client')
    joinDurable(broker, 'd1').send({
      type: PacketType.disconnect,
      reasonCode: 0,
      properties: { sessionExpiryInterval: 0 },
    })
    broker.settle()
    t.equal(broker.broker.counters.sessionCount, 0)
    const publisher = broker.connect({ clientId: 'p', version: 5 })
    publisher.publish('a/b', 'x', { qos: 1 })
    t.match(publisher.take(PacketType.puback), { reasonCode: ReasonCode.noMatchingSubscribers })
    publisher.disconnect()
    broker.passMs(1500)
    t.equal((await start()).broker.counters.sessionCount, 0)
  })

  await t.test('keeps what waits when a member of higher QoS comes', async (t) => {
    const { broker } = await world()
    joinDurable(broker, 'd1', 1).drop()
    publishAll(broker.connect({ clientId: 'p' }), oneTo(3), 1)
    t.same(drain(joinDurable(broker, 'd2', 2)), oneTo(3))
  })

  await t.test('writes nothing after the stop', async (t) => {
    const { broker } = await world()
    const { clock, store } = broker
    const leaver = joinDurable(broker, 'd1')
    join(broker, 'm', 1)
    leaver.send({ type: PacketType.unsubscribe, packetId: 2, topicFilters: ['$share/g/a/#'], properties: undefined })
    broker.broker.stop()
    const { lastTicket } = store
    clock.endTurn()
    t.equal(store.lastTicket, lastTicket)
  })

  await t.test('is done with a QoS 2 message that turns out to be too large', async (t) => {
    const { broker } = await world()
    const properties = { sessionExpiryInterval: 3600, maximumPacketSize: 50 }
    const member = broker.connect({ ...durable('d1'), properties })
    member.subscribe('$share/g/a/#', { qos: 2 })
    const publisher = broker.connect({ clientId: 'p' })
    publisher.publish('a/b', 'x'.repeat(60), { qos: 2, packetId: 1 })
    t.equal(broker.broker.counters.dropped.tooLarge, 1)
    broker.passMs(2000)
    t.equal(broker.store.log.messageCount, 0)
  })

  await t.test('subscribing anew after each reconnect keeps what waits', async (t) => {
    const { broker } = await world()
    joinDurable(broker, 'd1').drop()
    publishAll(broker.connect({ clientId: 'p' }), oneTo(20), 1)
    const again = broker.open()
    again.link.isStuck = true
    again.connect(durable('d1'))
    again.subscribe('$share/g/a/#', { qos: 1 })
    again.link.unstick()
    t.same(drain(again), oneTo(20))
  })

  await t.test(
    'a member that unsubscribes still acknowledges what it has, and what it leaves behind comes back',
    async (t) => {
      const { broker } = await world()
      const leaver = joinDurable(broker, 'd1')
      publishAll(broker.connect({ clientId: 'p' }), ['1', '2'], 1)
      const stayer = joinDurable(broker, 'd2')
      const [one] = messagesOf(leaver)
      leaver.send({ type: PacketType.unsubscribe, packetId: 2, topicFilters: ['$share/g/a/#'], properties: undefined })
      leaver.puback(one?.packetId ?? 0)
      t.same(stayer.takePayloads(), [])
      leaver.drop()
      t.same(drain(stayer), ['2'])
      broker.passMs(2000)
      t.equal(broker.store.log.messageCount, 0)
    },
  )
})

t.test('whatever members do, every QoS 1 message is acknowledged by one of them in the end', async (t) => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.constant('publish' as const) },
    { weight: 2, arbitrary: fc.record({ take: fc.nat(3) }) },
    { weight: 1, arbitrary: fc.record({ drop: fc.nat(3) }) },
    { weight: 1, arbitrary: fc.record({ connect: fc.nat(3) }) },
    { weight: 1, arbitrary: fc.record({ unsubscribe: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.constant('crash' as const) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const clock = new VirtualClock()
      const disk = new MemoryDisk()
      const start = () =>
        TestBroker.start({ clock, store: new MemoryStore({ clock, random: new SeededRandom(2), disk }) })
      let broker = await start()
      let publisher = broker.connect({ clientId: 'p' })
      const clients: (TestClient | undefined)[] = [undefined, undefined, undefined, undefined]
      const received = new Set<string>()
      let published = 0
      // The last member never unsubscribes, so that there always is a group that owes the messages.
      const connect = (index: number) => {
        clients[index] ??= joinDurable(index)
      }
      const joinDurable = (index: number) => {
        const client = broker.connect(durable(`d${index}`))
        client.subscribe('$share/g/a/#', { qos: 1 })
        return client
      }
      const take = (client: TestClient | undefined) => {
        if (client !== undefined) for (const payload of drain(client)) received.add(payload)
      }
      connect(3)
      for (const action of steps) {
        if (action === 'publish') publisher.publish('a/b', String(++published), { qos: 1 })
        else if (action === 'crash') {
          clients.fill(undefined)
          broker = await start()
          publisher = broker.connect({ clientId: 'p' })
        } else if ('take' in action) take(clients[action.take])
        else if ('connect' in action) connect(action.connect)
        else if ('unsubscribe' in action) {
          const topicFilters = ['$share/g/a/#']
          clients[action.unsubscribe]?.send({
            type: PacketType.unsubscribe,
            packetId: 9,
            topicFilters,
            properties: undefined,
          })
        } else {
          clients[action.drop]?.drop()
          clients[action.drop] = undefined
        }
      }
      connect(3)
      for (let round = 0; round < 3; round++) for (const client of clients) take(client)
      clients.forEach((client, index) => {
        if (index !== 3) client?.drop()
      })
      take(clients[3])
      // A session that is away holds the log back, whatever it is subscribed to.
      for (const index of [0, 1, 2]) broker.connect(durable(`d${index}`))
      broker.passMs(2500)
      return received.size === published && broker.store.log.messageCount === 0
    }),
    { numRuns: 200 },
  )
  t.pass('200 histories')
})

t.test('whatever members of any kind do, no QoS 2 message comes twice and nothing is kept for ever', async (t) => {
  type Kind = { readonly isDurable: boolean; readonly qos: 0 | 1 | 2 }
  const kinds: readonly Kind[] = [
    { isDurable: true, qos: 2 },
    { isDurable: false, qos: 2 },
    { isDurable: true, qos: 1 },
    { isDurable: false, qos: 0 },
  ]
  const who = fc.nat(kinds.length - 1)
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ publish: fc.constantFrom(0, 1, 2, 2, 2) }) },
    { weight: 2, arbitrary: fc.record({ finish: who }) },
    { weight: 2, arbitrary: fc.record({ begin: who }) },
    { weight: 1, arbitrary: fc.record({ drop: who }) },
    { weight: 1, arbitrary: fc.record({ end: who }) },
    { weight: 2, arbitrary: fc.record({ connect: who }) },
    { weight: 1, arbitrary: fc.record({ unsubscribe: who }) },
  )
  const topicFilters = ['$share/g/a/#']
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const broker = await TestBroker.start()
      const publisher = broker.connect({ clientId: 'p' })
      const clients: (TestClient | undefined)[] = kinds.map(() => undefined)
      const copies = new Map<string, number>()
      let published = 0

      function connect(index: number): void {
        if (clients[index] !== undefined) return
        const { isDurable, qos } = kinds[index] as Kind
        const client = broker.connect(isDurable ? durable(`c${index}`) : { clientId: `c${index}`, version: 5 })
        client.subscribe('$share/g/a/#', { qos })
        clients[index] = client
      }

      /** @param isWhole false: QoS 2 messages are received and not completed */
      function answer(client: TestClient | undefined, isWhole: boolean): void {
        for (let packets = client?.takeAll() ?? []; packets.length > 0; packets = client?.takeAll() ?? []) {
          for (const packet of packets) {
            const reply = { reasonCode: ReasonCode.success, properties: undefined }
            if (packet.type === PacketType.pubrel && 'packetId' in packet && isWhole) {
              client?.send({ type: PacketType.pubcomp, packetId: packet.packetId, ...reply })
            }
            if (!(packet instanceof Publish)) continue
            if (packet.qos === 1) client?.puback(packet.packetId)
            if (packet.qos < 2) continue
            if (!packet.dup) copies.set(packet.payload.toString(), (copies.get(packet.payload.toString()) ?? 0) + 1)
            client?.send({ type: PacketType.pubrec, packetId: packet.packetId, ...reply })
          }
        }
      }

      for (const action of steps) {
        if ('publish' in action) {
          published++
          publisher.publish('a/b', String(published), { qos: action.publish as 0 | 1 | 2, packetId: published })
          const reply = { reasonCode: ReasonCode.success, properties: undefined }
          if (action.publish === 2) publisher.send({ type: PacketType.pubrel, packetId: published, ...reply })
        } else if ('finish' in action) answer(clients[action.finish], true)
        else if ('begin' in action) answer(clients[action.begin], false)
        else if ('connect' in action) connect(action.connect)
        else if ('unsubscribe' in action) {
          clients[action.unsubscribe]?.send({
            type: PacketType.unsubscribe,
            packetId: 9,
            topicFilters,
            properties: undefined,
          })
        } else if ('drop' in action) {
          clients[action.drop]?.drop()
          clients[action.drop] = undefined
        } else {
          const properties = kinds[action.end]?.isDurable === true ? { sessionExpiryInterval: 0 } : undefined
          clients[action.end]?.send({ type: PacketType.disconnect, reasonCode: ReasonCode.success, properties })
          clients[action.end] = undefined
        }
      }
      for (let index = 0; index < kinds.length; index++) {
        clients[index]?.drop()
        clients[index] = undefined
      }
      for (let round = 0; round < 3; round++) {
        for (let index = 0; index < kinds.length; index++) {
          connect(index)
          answer(clients[index], true)
        }
      }
      broker.passMs(2500)
      return broker.store.log.messageCount === 0 && [...copies.values()].every((count) => count === 1)
    }),
    { numRuns: 200 },
  )
  t.pass('200 histories')
})
