/** What the broker publishes about itself below $SYS. */
import t from 'tap'
import type { SysSettings } from '../../src/broker/sys-topics.ts'
import { type Connect, PacketType } from '../../src/protocol/packet.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'

const sys: SysSettings = {
  nodeName: 'gw-1',
  version: '1.2.3',
  intervalMs: 60_000,
  heartbeatMs: 30_000,
  withMosquitto: false,
}

async function start(settings: Partial<SysSettings> = {}): Promise<TestBroker> {
  const broker = await TestBroker.start({ settings: { sys: { ...sys, ...settings } } })
  broker.passMs(100)
  return broker
}

/** Topic below `prefix` -> payload of everything that came. */
function heard(client: TestClient, prefix = '$SYS/brokers/gw-1/'): Map<string, string> {
  const messages = client.takeAll().filter((packet) => packet instanceof Publish)
  return new Map(messages.map(({ topic, payload }) => [topic.replace(prefix, ''), payload.toString()]))
}

t.test('a new subscriber is told everything at once, and again at each interval', async (t) => {
  const broker = await start()
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('$SYS/#')
  const first = heard(watcher)
  t.equal(first.get('$SYS/brokers'), 'gw-1')
  t.equal(first.get('version'), '1.2.3')
  t.equal(first.get('sysdescr'), 'Tidegate')
  t.equal(first.get('uptime'), '100')
  t.equal(first.get('datetime'), '2026-01-01T00:00:00.100Z')
  t.notOk(
    [...first.keys()].some((topic) => topic.startsWith('$SYS/broker/')),
    'nothing of mosquitto',
  )

  broker.passMs(29_000)
  t.same([...heard(watcher)], [])
  broker.passMs(1000)
  t.same([...heard(watcher).keys()], ['uptime', 'datetime'], 'a sign of life')
  broker.passMs(30_000)
  const second = heard(watcher)
  t.equal(second.get('uptime'), '60100')
  t.equal(second.size, first.size)
})

t.test('counts and metrics', async (t) => {
  const broker = await start()
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('$SYS/brokers/+/stats/#')
  watcher.subscribe('$SYS/brokers/+/metrics/#')
  const member = broker.connect({ clientId: 'm' })
  member.subscribe('$share/g/a')
  member.subscribe('$share/g/b')
  const publisher = broker.connect({ clientId: 'p' })
  publisher.publish('a', 'x', { retain: true })
  publisher.publish('$SYS/brokers', 'not theirs to say')
  publisher.drop()
  broker.passMs(60_000)
  const told = heard(watcher)
  t.equal(told.get('stats/connections/count'), '2')
  t.equal(told.get('stats/connections/max'), '2', 'seen at ticks')
  t.equal(told.get('stats/sessions/count'), '2', 'groups are not clients')
  t.equal(told.get('stats/subscriptions/count'), '4')
  t.equal(told.get('stats/subscriptions/shared/count'), '2')
  t.equal(told.get('stats/retained/count'), '1', 'without its own')
  t.equal(told.get('metrics/messages/received'), '2', 'without its own')
  t.equal(told.get('metrics/messages/dropped'), '1')
  t.equal(told.get('metrics/authorization/deny'), '1')
  t.equal(told.get('metrics/client/connected'), '3')
})

t.test('clients that come and go are told with who they are and why they went', async (t) => {
  const broker = await start()
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('$SYS/brokers/+/clients/#')
  const events = (): [string, { reason?: string }][] =>
    [...heard(watcher)].map(([topic, payload]) => [topic, JSON.parse(payload)])
  const settings: Partial<Connect> = { version: 5, username: 'u', keepAliveSeconds: 30 }
  const first = broker.connect({ clientId: 'c', ...settings })
  t.match(events(), [
    [
      'clients/c/connected',
      {
        clientid: 'c',
        username: 'u',
        ipaddress: 'pipe',
        proto_name: 'MQTT',
        proto_ver: 5,
        keepalive: 30,
        expiry_interval: 0,
        clean_start: true,
        connack: 0,
        connected_at: Number,
      },
    ],
  ])
  first.disconnect()
  t.match(events(), [
    ['clients/c/disconnected', { clientid: 'c', username: 'u', reason: 'normal', disconnected_at: Number }],
  ])

  const reasons: [why: string, leave: (client: TestClient) => unknown][] = [
    ['connectionLost', (client) => client.drop()],
    ['sessionTakenOver', () => broker.connect({ clientId: 'c' })],
    ['keepAliveTimeout', () => broker.passMs(50_000)],
    [
      'disconnectWithWill',
      (client) =>
        client.send({ type: PacketType.disconnect, reasonCode: ReasonCode.disconnectWithWill, properties: undefined }),
    ],
  ]
  for (const [why, leave] of reasons) {
    const client = broker.connect({ clientId: 'c', ...settings })
    events()
    leave(client)
    t.equal(events().find(([topic]) => topic === 'clients/c/disconnected')?.[1].reason, why)
  }

  broker.connect({ clientId: 'sly/+/#', version: 5, properties: { sessionExpiryInterval: 0xffff_ffff } })
  t.match(events(), [['clients/sly/_/_/connected', { clientid: 'sly/+/#', expiry_interval: 0xffff_ffff }]])
})

t.test('nothing of it is stored, and a subscription to # does not see it', async (t) => {
  const broker = await start()
  const { lastTicket } = broker.store
  const everything = broker.connect({ clientId: 'e' })
  everything.subscribe('#')
  broker.passMs(120_000)
  t.same(everything.takePayloads(), [])
  t.equal(broker.store.lastTicket, lastTicket)
  const away = broker.connect({
    clientId: 'd',
    version: 5,
    cleanStart: false,
    properties: { sessionExpiryInterval: 3600 },
  })
  away.subscribe('$SYS/#', { qos: 1 })
  away.drop()
  broker.passMs(60_000)
  t.equal(broker.store.log.lastSeq, 0)
})

t.test('mosquitto’s topics on demand', async (t) => {
  const broker = await start({ withMosquitto: true })
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('$SYS/broker/#')
  const publisher = broker.connect({ clientId: 'p' })
  for (let index = 0; index < 60; index++) publisher.publish('a', 'x')
  heard(watcher)
  broker.passMs(60_000)
  const told = heard(watcher, '$SYS/broker/')
  t.equal(told.get('version'), 'tidegate version 1.2.3')
  t.equal(told.get('uptime'), '60 seconds')
  t.equal(told.get('clients/connected'), '2')
  t.equal(told.get('subscriptions/count'), '1')
  t.equal(told.get('publish/messages/received'), '60')
  t.equal(told.get('load/publish/received/1min'), (60 * (1 - Math.exp(-1))).toFixed(2))
  t.equal(told.get('load/publish/received/15min'), (60 * (1 - Math.exp(-1 / 15))).toFixed(2))
})

t.test('switched off there is nothing below $SYS', async (t) => {
  const broker = await TestBroker.start()
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('$SYS/#')
  broker.connect({ clientId: 'c' }).disconnect()
  broker.passMs(120_000)
  t.same(watcher.takePayloads(), [])
})
