/** What clients may do with the topics of the broker itself, those that begin with `$`. */
import t from 'tap'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { TestBroker } from '../fakes/test-broker.ts'

const { notAuthorized } = ReasonCode

t.test('nobody publishes there', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5 })
  const watcher = broker.connect({ clientId: 'watcher' })
  watcher.subscribe('$edge/#')
  watcher.subscribe('$SYS/#')
  for (const topic of [
    '$bridge/gw1/pace',
    '$SYS/brokers/x/version',
    '$edge/loss',
    '$fleet/gateways/gw1/state',
    '$any',
  ]) {
    client.publish(topic, 'forged', { qos: 1 })
    t.match(client.takeAll(), [{ reasonCode: notAuthorized }], topic)
    client.publish(`$delayed/1/${topic}`, 'forged', { qos: 1 })
    t.match(client.takeAll(), [{ reasonCode: notAuthorized }], `${topic}, delayed`)
  }
  const will = { qos: 0, retain: false, payload: Buffer.from('forged'), properties: undefined } as const
  const dead = broker.open()
  const connack = dead.connect({ clientId: 'dead', version: 5, will: { ...will, topic: '$bridge/gw1/state/x' } })
  t.equal(connack?.reasonCode, notAuthorized, 'and no will says anything there')
  broker.passMs(2000)
  t.same(watcher.takePayloads(), [])
})

t.test('a client says only of itself whether a bridge is up', async (t) => {
  const broker = await TestBroker.start()
  const bridge = broker.connect({ clientId: 'plant.mosq', version: 5 })
  bridge.publish('$SYS/broker/connection/plant.mosq/state', '1', { qos: 1, retain: true })
  bridge.publish('$SYS/broker/connection/other/state', '1', { qos: 1, retain: true })
  t.match(bridge.takeAll(), [{ reasonCode: ReasonCode.noMatchingSubscribers }, { reasonCode: notAuthorized }])
  const reader = broker.connect({ clientId: 'reader' })
  reader.subscribe('$SYS/broker/connection/+/state')
  t.match(reader.takeAll(), [{ topic: '$SYS/broker/connection/plant.mosq/state' }])
})

t.test('everybody reads what the broker tells, but not what bridges talk about', async (t) => {
  const broker = await TestBroker.start()
  const client = broker.connect({ clientId: 'c', version: 5 })
  for (const filter of ['$SYS/#', '$edge/#', '$fleet/#', '#', '+/#']) t.same(client.subscribe(filter), [0], filter)
  for (const filter of [
    '$bridge/#',
    '$bridge/gw1/pace',
    '$bridge/delayed/cloud/#',
    '$share/g/$bridge/#',
    '$queue/$bridge/+/pace',
  ]) {
    t.same(client.subscribe(filter, { qos: 1 }), [notAuthorized], filter)
  }
  broker.connect({ clientId: 'old' }).publish('a', 'x')
  t.same(broker.connect({ clientId: 'old', version: 4 }).subscribe('$bridge/#'), [0x80], 'before 5.0')
  client.takeAll()
  const inside = broker.broker.openSession('$inside', consumer)
  inside.publish(Publish.create({ topic: '$bridge/gw1/pace', payload: '{"rate":1}' }))
  broker.settle()
  t.same(client.takeAll(), [])
})

t.test('a gateway hears of its own bridge, whatever else it may subscribe to', async (t) => {
  const broker = await TestBroker.start()
  const access = { publish: [], subscribe: ['g/gw1/cmd/#'] }
  const traits = { identity: 'gw1', mountpoint: 'g/{identity}/', acceptsGateways: true, access }
  const gateway = broker.connect({ clientId: 'edge', version: 5 }, traits)
  t.same(gateway.subscribe('$bridge/pace', { qos: 1 }), [1])
  t.same(gateway.subscribe('cmd/#', { qos: 1 }), [1])
  t.same(gateway.subscribe('other', { qos: 1 }), [notAuthorized])
  const inside = broker.broker.openSession('$inside', consumer)
  inside.publish(Publish.create({ topic: '$bridge/gw2/pace', payload: 'for another' }))
  inside.publish(Publish.create({ topic: '$bridge/gw1/pace', payload: 'slower' }))
  broker.settle()
  t.match(gateway.takeAll(), [{ topic: '$bridge/pace' }])
})

const consumer = {
  canTake: true,
  deliver() {},
  onDurable() {},
}
