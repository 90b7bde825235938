/** Alarms: raised once, cleared once, told in EMQX's topics. */
import t from 'tap'
import type { SysSettings } from '../../src/broker/sys-topics.ts'
import { TestBroker } from '../fakes/test-broker.ts'

const sys: SysSettings = {
  nodeName: 'gw-1',
  version: '1.2.3',
  intervalMs: 60_000,
  heartbeatMs: 30_000,
  withMosquitto: false,
}

t.test('an alarm is told when it begins and when it is over, once each', async (t) => {
  const broker = await TestBroker.start({ settings: { sys } })
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('$SYS/brokers/gw-1/alarms/#')
  const { alarms } = broker.broker
  const heard = (): [string, unknown][] => {
    broker.settle()
    return watcher
      .takeAll()
      .flatMap((packet) => ('topic' in packet ? [[packet.topic, JSON.parse(packet.payload.toString())]] : []))
  }
  alarms.clear('disk_full')
  t.strictSame(heard(), [])
  const startedAtMs = broker.clock.wallMs()
  alarms.raise('disk_full', 'no space', { path: 'x' })
  alarms.raise('disk_full', 'still no space', { path: 'x' })
  t.strictSame(heard(), [
    [
      '$SYS/brokers/gw-1/alarms/activate',
      {
        name: 'disk_full',
        message: 'no space',
        details: { path: 'x' },
        activate_at: startedAtMs,
        deactivate_at: 'infinity',
      },
    ],
  ])
  t.match(alarms.list, { active: [{ name: 'disk_full', message: 'still no space' }], ended: [] })
  broker.passMs(5000)
  alarms.clear('disk_full')
  alarms.clear('disk_full')
  t.match(heard(), [['$SYS/brokers/gw-1/alarms/deactivate', { name: 'disk_full', deactivate_at: startedAtMs + 5000 }]])
  t.match(alarms.list, { active: [], ended: [{ name: 'disk_full', endedAtMs: startedAtMs + 5000 }] })
})

t.test('without $SYS alarms are listed and not published', async (t) => {
  const broker = await TestBroker.start()
  const watcher = broker.connect({ clientId: 'w' })
  watcher.subscribe('$SYS/#')
  broker.broker.alarms.raise('a', 'b', {})
  broker.settle()
  t.strictSame(watcher.takePayloads(), [])
  t.equal(broker.broker.alarms.list.active.length, 1)
})

t.test('what is over is remembered up to a bound', async (t) => {
  const { alarms } = (await TestBroker.start()).broker
  for (let i = 1; i <= 150; i++) {
    alarms.raise(`alarm ${i}`, '', {})
    alarms.clear(`alarm ${i}`)
  }
  t.equal(alarms.list.ended.length, 100)
  t.equal(alarms.list.ended[0]?.name, 'alarm 150')
})
