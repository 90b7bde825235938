/** When a will is published, and when not (MQTT 5.0 §3.1.2.5, §3.1.3.2.2). */
import t from 'tap'
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { type Connect, PacketType, type Will } from '../../src/protocol/packet.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const durable = (clientId: string): Connect & { clientId: string } =>
  ({ clientId, version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } }) as Connect

t.test('wills', async (t) => {
  const will = (delay?: number): Will => ({
    topic: 'will',
    payload: Buffer.from('gone'),
    qos: 1,
    retain: false,
    properties: delay === undefined ? undefined : { willDelayInterval: delay },
  })
  async function world() {
    const broker = await TestBroker.start()
    const watcher = broker.connect({ clientId: 'w' })
    watcher.subscribe('will')
    return { broker, heard: () => watcher.takePayloads().length }
  }
  await t.test('are published when the connection is lost [MQTT-3.1.2-8]', async (t) => {
    const { broker, heard } = await world()
    broker.connect({ clientId: 'c', will: will() }).drop()
    t.equal(heard(), 1)
  })
  await t.test('are dropped by a normal DISCONNECT [MQTT-3.1.2-10] [MQTT-3.14.4-3]', async (t) => {
    const { broker, heard } = await world()
    broker.connect({ clientId: 'c', will: will() }).disconnect()
    t.equal(heard(), 0)
  })
  await t.test('are published by DISCONNECT with will message', async (t) => {
    const { broker, heard } = await world()
    broker
      .connect({ clientId: 'c', version: 5, will: will() })
      .send({ type: PacketType.disconnect, reasonCode: ReasonCode.disconnectWithWill, properties: undefined })
    t.equal(heard(), 1)
  })
  await t.test('wait for their delay', async (t) => {
    const { broker, heard } = await world()
    broker.connect({ ...durable('c'), will: will(10) }).drop()
    broker.passMs(9500)
    t.equal(heard(), 0)
    broker.passMs(1000)
    t.equal(heard(), 1)
    broker.passMs(20_000)
    t.equal(heard(), 0, 'once')
  })
  await t.test('are not published when the client is back before that [MQTT-3.1.3-9]', async (t) => {
    const { broker, heard } = await world()
    broker.connect({ ...durable('c'), will: will(10) }).drop()
    broker.passMs(5000)
    broker.connect(durable('c'))
    broker.passMs(20_000)
    t.equal(heard(), 0)
  })
  await t.test('are published when the session ends before their delay is over', async (t) => {
    const { broker, heard } = await world()
    broker.connect({ ...durable('c'), will: will(100), properties: { sessionExpiryInterval: 5 } }).drop()
    broker.passMs(6000)
    t.equal(heard(), 1)
  })
  await t.test('of a session that was taken over: with delay dropped, without published', async (t) => {
    const { broker, heard } = await world()
    broker.connect({ ...durable('c'), will: will(10) })
    broker.connect({ ...durable('c'), will: will() })
    broker.passMs(20_000)
    t.equal(heard(), 0)
    broker.connect(durable('c'))
    t.equal(heard(), 1)
  })
  await t.test('survive a restart of the broker, and go to those who are subscribed by then', async (t) => {
    const clock = new VirtualClock()
    const disk = new MemoryDisk()
    const start = () =>
      TestBroker.start({ clock, store: new MemoryStore({ clock, random: new SeededRandom(2), disk }) })
    const before = await start()
    before.connect(durable('w')).subscribe('will', { qos: 1 })
    before.connect({ ...durable('c'), will: will(10) })
    const after = await start()
    after.passMs(11_000)
    const watcher = after.connect(durable('w'))
    t.same(watcher.takePayloads(), ['gone'])
  })
})
