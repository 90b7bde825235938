import t from 'tap'
import { Mapping, type MappingRule } from '../../src/bridge/mapping.ts'
import { RoundTrip } from '../../src/bridge/round-trip.ts'

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
