import t from 'tap'
import { Breaker } from '../../src/bridge/breaker.ts'
import { hopCountMax, pathIn, pathOf, pathOut, withPath } from '../../src/bridge/path.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'
import { everything, World } from './world.ts'

t.test('a path is read as it was written, behind the properties of others', async (t) => {
  const properties = withPath([['unit', 'C']], ['a', 'b'])
  t.same(properties, [
    ['unit', 'C'],
    ['x-b-path', 'a,b'],
  ])
  t.same(pathOf(properties), ['a', 'b'])
  t.same(withPath(properties, ['a', 'b', 'c']).length, 2, 'the former path is replaced')
  t.same(pathOf(undefined), [])
})

t.test('a message ends at a broker that it has passed', async (t) => {
  t.same(pathOut([], 'a'), ['a'])
  t.same(pathOut(['b'], 'a'), ['b', 'a'])
  t.equal(pathOut(['a', 'b'], 'a'), undefined)
  t.equal(pathIn(['a', 'b'], 'a'), undefined)
  t.same(pathOut(pathIn(['b'], 'a') ?? [], 'a'), ['b', 'a'], 'fetched and sent on: one hop')
})

t.test('a message ends after so many hops', async (t) => {
  let path: readonly string[] | undefined = []
  let hops = 0
  while (path !== undefined) path = pathOut(path, `broker${hops++}`)
  t.equal(hops - 1, hopCountMax)
})

const isBridge = (clientId: string) => clientId.startsWith('$bridge/')

function bridged(topic: string, payload: string): Publish {
  const message = Publish.create({ topic, payload })
  message.publisher = '$bridge/up'
  return message
}

t.test('what passes from bridge to bridge again and again is held, and let go when it was quiet', async (t) => {
  const clock = new VirtualClock()
  const tripped: string[] = []
  const breaker = new Breaker(clock, isBridge, ({ topic }) => tripped.push(topic))
  const passes = (count: number) => Array.from({ length: count }, () => breaker.lets(bridged('t', 'on')))
  t.same(passes(7), [true, true, true, true, true, false, false])
  t.same(tripped, ['t'])
  t.ok(breaker.lets(bridged('t', 'off')), 'another payload is another message')
  t.ok(breaker.lets(bridged('u', 'on')), 'and so is another topic')
  clock.advanceMs(9000)
  t.same(passes(1), [false], 'still going round')
  clock.advanceMs(10_001)
  t.same(passes(1), [true])
})

t.test('a device may repeat itself, and so may a slow command from above', async (t) => {
  const clock = new VirtualClock()
  const breaker = new Breaker(clock, isBridge, () => t.fail('nothing goes round'))
  for (let n = 0; n < 100; n++) t.ok(breaker.lets(Publish.create({ topic: 't', payload: 'on' })))
  for (let n = 0; n < 20; n++) {
    clock.advanceMs(3000)
    t.ok(breaker.lets(bridged('t', 'on')))
  }
})

t.test(
  'a client that brings back what went out is found by its rhythm, and a device that repeats itself is not',
  async (t) => {
    const clock = new VirtualClock()
    const tripped: string[] = []
    const breaker = new Breaker(clock, isBridge, ({ publisher }) => tripped.push(publisher))
    const passes = (publisher: string, count: number, everyMs: number) => {
      let letThrough = 0
      for (let n = 0; n < count; n++) {
        const message = Publish.create({ topic: 't', payload: 'on' })
        message.publisher = publisher
        if (breaker.lets(message)) letThrough++
        clock.advanceMs(everyMs)
      }
      return letThrough
    }
    t.equal(passes('device', 100, 10), 100, 'the only publisher of a topic')
    t.equal(passes('slow', 30, 1000), 30, 'a second one that is slow')
    t.same(tripped, [])
    t.equal(passes('relay', 21, 50), 20, 'equal messages of another client, twenty times')
    t.same(tripped, ['relay'])
    clock.advanceMs(10_001)
    t.equal(passes('relay', 1, 0), 1, 'let go when it was quiet')
    clock.advanceMs(10_001)
    t.equal(passes('second device', 100, 100), 80, 'who goes on although nothing went out is no relay')
    t.equal(passes('second device', 100, 100), 100, 'and is left alone')
  },
)

for (const [name, isBridge] of [
  ["mosquitto#3011: a bridge of mosquitto's", true],
  ['a plain relay in 3.1.1, which does not say what it is,', false],
] as const) {
  t.test(`${name} that brings back what we send it: the message is held, and somebody told`, async (t) => {
    const world = await World.make({ out: [everything], uplink: { protocol: '3.1.1' } })
    world.passMs(500)
    const watcher = world.cloud.connect({ clientId: 'watcher' })
    watcher.subscribe('g/gw1/t')
    // From the cloud back into the gateway, in 3.1.1, under the same topic.
    const source = world.cloud.connect({ clientId: 'relay' })
    source.subscribe('g/gw1/t')
    const back = world.edge.connect({ clientId: 'relay', version: 4, isBridge })
    world.edge.connect({ clientId: 'device' }).publish('t', 'on', { qos: 1 })
    const goRound = (durationMs: number) => {
      for (let leftMs = durationMs; leftMs > 0; leftMs -= 100) {
        world.passMs(100)
        for (const payload of source.takePayloads()) back.publish('t', payload, { qos: 1 })
      }
    }
    goRound(30_000)
    const count = watcher.takePayloads().length
    t.ok(count > 1 && count < 25, `went round ${count} times`)
    t.ok(world.bridge.status.loopedCount > 0)
    const { alarms } = world.edge.broker
    t.match(alarms.list.ended.concat(alarms.list.active), [
      { name: 'message_loop:bridge:up', details: { topic: 't', clientId: 'relay' } },
    ])
    goRound(12_000)
    t.same(alarms.list.active, [], 'it is over when it was quiet')
    world.edge.connect({ clientId: 'device' }).publish('t', 'off', { qos: 1 })
    goRound(1000)
    t.ok(watcher.takePayloads().includes('off'), 'other messages cross as ever')
  })
}
