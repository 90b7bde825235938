import t from 'tap'
import { Mapping, type MappingRule } from '../../src/bridge/mapping.ts'
import { Marks } from '../../src/bridge/marks.ts'
import { findNumber, formatNumber } from '../../src/bridge/message-number.ts'
import { GatewayReceiver } from '../../src/bridge/receiver.ts'
import { RoundTrip } from '../../src/bridge/round-trip.ts'
import type { Mark } from '../../src/ports/store.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'

function rule(filter: string, localPrefix = '', remotePrefix = ''): MappingRule {
  return { filter, qos: 1, localPrefix, remotePrefix }
}

t.test('topics cross with prefixes exchanged, as in the table of mosquitto', async (t) => {
  for (const [localPrefix, remotePrefix, local, remote] of [
    ['L/', 'R/', 'L/a/b', 'R/a/b'],
    ['L/', '', 'L/a/b', 'a/b'],
    ['', 'R/', 'a/b', 'R/a/b'],
    ['', '', 'a/b', 'a/b'],
  ] as const) {
    const rules = [rule('a/#', localPrefix, remotePrefix)]
    t.equal(new Mapping(rules, 'out').map(local), remote, `out ${local}`)
    t.equal(new Mapping(rules, 'in').map(remote), local, `in ${remote}`)
    t.same(new Mapping(rules, 'out').subscriptions, [{ topicFilter: `${localPrefix}a/#`, qos: 1 }])
    t.same(new Mapping(rules, 'in').subscriptions, [{ topicFilter: `${remotePrefix}a/#`, qos: 1 }])
  }
})

t.test('the first rule that fits decides, and what fits none does not cross', async (t) => {
  const mapping = new Mapping([rule('a/b', '', 'one/'), rule('a/#', '', 'two/')], 'out')
  t.equal(mapping.map('a/b'), 'one/a/b')
  t.equal(mapping.map('a/c'), 'two/a/c')
  t.equal(mapping.map('b'), undefined)
})

t.test('with an empty filter exactly one topic crosses, under the names that both prefixes are', async (t) => {
  const rules = [rule('', 'local/lamp', 'remote/lamp')]
  const out = new Mapping(rules, 'out')
  t.same(out.subscriptions, [{ topicFilter: 'local/lamp', qos: 1 }])
  t.equal(out.map('local/lamp'), 'remote/lamp')
  t.equal(out.map('local/lamp/2'), undefined)
  t.equal(new Mapping(rules, 'in').map('remote/lamp'), 'local/lamp')
})

t.test('a prefix need not end with a slash, and half a prefix does not cross', async (t) => {
  t.equal(new Mapping([rule('-temp', 'room1', 'house/room1')], 'out').map('room1-temp'), 'house/room1-temp')
  const below = new Mapping([rule('#', 'L/', '')], 'out')
  t.equal(below.map('L/a'), 'a')
  t.equal(below.map('L'), undefined)
  t.equal(below.map('L/'), undefined, 'nothing is left of it')
})

t.test('a message crosses with the QoS of its publisher, and no higher than the rule that maps it', async (t) => {
  const capped = { ...rule('a/b'), qos: 0 as const }
  const mapping = new Mapping([capped, { ...rule('#'), qos: 2 }, rule('#')], 'out')
  t.equal(mapping.qosOf('a/b', 2), 0)
  t.equal(mapping.qosOf('c', 1), 1)
  t.equal(mapping.qosOf('c', 2), 2)
  t.same(mapping.subscriptions, [
    { topicFilter: 'a/b', qos: 0 },
    { topicFilter: '#', qos: 2 },
  ])
})

t.test('a message number reads back as it was written, and nothing else reads as one', async (t) => {
  const number = { epoch: '0123abcdef', lane: 2, seq: 2 ** 40 }
  t.same(findNumber([['x-b-seq', formatNumber(number)]]), number)
  for (const text of ['', '1', 'a.0', 'a.0.1.2', 'A.0.1', 'a.-1.1', 'a.0.x', `${'a'.repeat(40)}.0.1`]) {
    t.equal(findNumber([['x-b-seq', text]]), undefined, `"${text}"`)
  }
  t.equal(findNumber(undefined), undefined)
})

t.test('the receiver takes each number of an epoch once and in rising order', async (t) => {
  const stored = new Map<string, Mark>()
  const receiver = new GatewayReceiver(new Marks({ set: (key, mark) => stored.set(key, mark) }))
  const send = (peer: string, epoch: string, seq: number) =>
    receiver.admit(
      peer,
      Publish.create({
        topic: 't',
        payload: 'p',
        properties: {
          contentType: 'text/plain',
          userProperties: [
            ['mine', '1'],
            ['x-b-seq', formatNumber({ epoch, lane: 0, seq })],
          ],
        },
      }),
    )
  t.same(
    send('g1', 'aa', 5)?.properties,
    { contentType: 'text/plain', userProperties: [['mine', '1']] },
    'number taken off',
  )
  t.equal(send('g1', 'aa', 5), undefined)
  t.equal(send('g1', 'aa', 4), undefined)
  t.ok(send('g1', 'aa', 9), 'seqs need not be dense')
  t.ok(send('g2', 'aa', 5), 'another gateway counts for itself')
  t.ok(send('g1', 'bb', 1), 'a new epoch starts anew')
  t.same(stored.get('g1/0'), { epoch: 'bb', seq: 1 })

  const marks = new Marks({ set: () => {} })
  marks.restore('g1/0', { epoch: 'bb', seq: 1 })
  const restarted = new GatewayReceiver(marks)
  const again = Publish.create({ topic: 't', payload: 'p', properties: { userProperties: [['x-b-seq', 'bb.0.1']] } })
  t.equal(restarted.admit('g1', again), undefined, 'after a restart it still knows')
  const plain = Publish.create({ topic: 't', payload: 'p' })
  t.equal(receiver.admit('g1', plain), plain, "a message without a number is nobody's business")
})

t.test('silence is given two round trips and two seconds, and never more than the setting', async (t) => {
  const roundTrip = new RoundTrip(10_000)
  roundTrip.measure(100)
  t.equal(roundTrip.deadAfterMs, 2200)
  for (let i = 0; i < 200; i++) roundTrip.measure(1000)
  t.ok(Math.abs(roundTrip.deadAfterMs - 4000) < 10)
  for (let i = 0; i < 200; i++) roundTrip.measure(60_000)
  t.equal(roundTrip.deadAfterMs, 10_000)
  t.equal(roundTrip.pingAfterMs, 5000)
})
