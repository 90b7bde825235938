import fc from 'fast-check'
import t from 'tap'
import { ReasonCode } from '../../src/protocol/reason.ts'
import {
  checkTopicFilter,
  isValidTopicFilter,
  isValidTopicName,
  parseSharedFilter,
  readTopicName,
  topicMatches,
} from '../../src/protocol/topic.ts'
import { faultOf } from '../fixtures/wire.ts'

const tooLong = 'x'.repeat(65_536)
const longest = 'x'.repeat(65_535)

t.test('a topic name is valid or not', async (t) => {
  for (const topic of ['a', '/', '//', ' ', 'Accounts payable', '/finance', '$SYS/x', '\u00e9', '\u{1f600}', longest]) {
    t.ok(isValidTopicName(topic), topic.slice(0, 20))
  }
  for (const topic of ['', 'a/+', '#', 'a+b', 'a\0b', 'a\ud800', '\udc00a', tooLong, '\u00e9'.repeat(32_768)]) {
    t.notOk(isValidTopicName(topic), JSON.stringify(topic.slice(0, 20)))
  }
})

t.test('a topic filter is valid or not', async (t) => {
  for (const filter of [
    'sport/tennis/player1/#',
    'sport/#',
    '#',
    'sport/tennis/#',
    '+',
    '+/tennis/#',
    'sport/+/player1',
    '/',
    '/+',
    '+/+',
    '//#',
    '$SYS/#',
    '$share/g/a',
    longest,
  ]) {
    t.ok(isValidTopicFilter(filter), filter.slice(0, 30))
  }
  for (const filter of [
    '',
    'sport/tennis#',
    'sport/tennis/#/ranking',
    '#/',
    '##',
    'a/##',
    'sport+',
    '+a',
    'a/+b/c',
    'a/b+',
    '++',
    '+#',
    '#+',
    'a\0',
    'a/\ud800',
    tooLong,
  ]) {
    t.notOk(isValidTopicFilter(filter), JSON.stringify(filter.slice(0, 30)))
  }
})

t.test('a filter that breaks a rule is a fault that names it, also when it is too long [MQTT-4.7.3-3]', async (t) => {
  for (const [filter, clause] of [
    ['', 'MQTT-4.7.3-1'],
    ['a\0', 'MQTT-4.7.3-2'],
    [tooLong, 'MQTT-4.7.3-3'],
    ['a/#/b', 'MQTT-4.7.1-1'],
    ['a#', 'MQTT-4.7.1-1'],
    ['a+', 'MQTT-4.7.1-2'],
    ['\ud800', 'MQTT-1.5.4-1'],
    ['$share//a', 'MQTT-4.8.2-1'],
    ['$share/', 'MQTT-4.8.2-1'],
    ['$share/g', 'MQTT-4.8.2-2'],
    ['$share/g/', 'MQTT-4.8.2-2'],
    ['$share/+/a', 'MQTT-4.8.2-2'],
  ] as const) {
    const fault = faultOf(() => checkTopicFilter(filter))
    t.equal(fault?.reasonCode, ReasonCode.topicFilterInvalid)
    t.equal(fault?.clause, clause, `${JSON.stringify(filter.slice(0, 20))} [${clause}]`)
  }
  t.doesNotThrow(() => checkTopicFilter('$share/g/+/#'))
})

t.test('the examples of the specification match', async (t) => {
  for (const [filter, matching, other] of [
    [
      'sport/tennis/player1/#',
      ['sport/tennis/player1', 'sport/tennis/player1/ranking', 'sport/tennis/player1/score/wimbledon'],
      ['sport/tennis/player10', 'sport/tennis', 'sport/tennis/player'],
    ],
    ['sport/#', ['sport', 'sport/', 'sport/a/b'], ['sports', 'spor', 'Sport']],
    ['#', ['a', '/', 'a/b/c'], ['$SYS/a', '$']],
    ['sport/tennis/+', ['sport/tennis/player1', 'sport/tennis/'], ['sport/tennis', 'sport/tennis/player1/ranking']],
    ['sport/+', ['sport/'], ['sport']],
    ['+', ['finance'], ['/finance', '$SYS']],
    ['+/+', ['/finance', 'a/b', '/'], ['finance', 'a/b/c', '$SYS/a']],
    ['/+', ['/finance', '/'], ['finance', '//']],
    ['+/#', ['a', 'a/', 'a/b/c', '/'], ['$SYS/a']],
    ['+/monitor/Clients', ['x/monitor/Clients'], ['$SYS/monitor/Clients']],
    ['$SYS/#', ['$SYS', '$SYS/', '$SYS/monitor/Clients'], ['SYS/a', '$SYSTEM']],
    ['$SYS/monitor/+', ['$SYS/monitor/Clients'], ['$SYS/monitor']],
    ['a/+/c', ['a/b/c', 'a//c', 'a/$x/c'], ['a/c', 'a/b/c/d', 'a/b/d']],
    ['Accounts payable', ['Accounts payable'], ['ACCOUNTS payable', 'Accountspayable']],
    ['\u00c5', ['\u00c5'], ['A\u030a', '\u212b']],
  ] as const) {
    for (const topic of matching) t.ok(topicMatches(filter, topic), `${filter} matches ${topic}`)
    for (const topic of other) t.notOk(topicMatches(filter, topic), `${filter} does not match ${topic}`)
  }
})

t.test('a filter that begins with a wildcard never matches a topic that begins with $ [MQTT-4.7.2-1]', async () => {
  fc.assert(
    fc.property(
      levels(['', 'a', '$b', 'c']),
      (topic) => !topicMatches('#', `$${topic}`) && !topicMatches('+/#', `$${topic}`),
    ),
  )
})

t.test('names are compared as they are, without normalization [MQTT-4.7.3-4]', async (t) => {
  t.notOk(topicMatches('caf\u00e9', 'cafe\u0301'))
  t.notOk(topicMatches('a//b', 'a/b'))
})

t.test('matching agrees with the definition, level by level', async () => {
  const names = ['', 'a', 'b', 'ab', '$s']
  fc.assert(
    fc.property(levels([...names, '+', '+', '#']), levels(names), (filter, topic) => {
      fc.pre(isValidTopicFilter(filter) && isValidTopicName(topic))
      return topicMatches(filter, topic) === matchesByLevel(filter.split('/'), topic.split('/'))
    }),
    { numRuns: 5000 },
  )
})

function levels(names: string[]): fc.Arbitrary<string> {
  return fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'))
}

function matchesByLevel(filter: string[], topic: string[]): boolean {
  if (topic[0]?.startsWith('$') && (filter[0] === '+' || filter[0] === '#')) return false
  if (filter.at(-1) === '#') {
    const parent = filter.slice(0, -1)
    return topic.length >= parent.length && parent.every((level, index) => level === '+' || level === topic[index])
  }
  return filter.length === topic.length && filter.every((level, index) => level === '+' || level === topic[index])
}

t.test('a shared subscription falls into its parts', async (t) => {
  t.strictSame(parseSharedFilter('$share/consumer1//finance'), { shareName: 'consumer1', topicFilter: '/finance' })
  t.strictSame(parseSharedFilter('$share/consumer1/sport/tennis/+'), {
    shareName: 'consumer1',
    topicFilter: 'sport/tennis/+',
  })
  t.equal(parseSharedFilter('$share'), undefined)
  t.equal(parseSharedFilter('$shared/g/a'), undefined)
  t.equal(parseSharedFilter('a/$share/g/a'), undefined)
  for (const filter of ['$share/', '$share//a', '$share/g', '$share/g/', '$share/g+/a', '$share/#', '$share/#/a']) {
    t.equal(faultOf(() => parseSharedFilter(filter))?.reasonCode, ReasonCode.topicFilterInvalid, filter)
  }
})

t.test('a topic reads from bytes exactly when it is valid', async () => {
  const unit = fc.constantFrom('a', '/', '+', '#', '\0', '$', '\u00e9', '\u20ac', '\u{1f600}')
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 6 }), fc.constantFrom(4 as const, 5 as const), (units, version) => {
      const topic = units.join('')
      const bytes = Buffer.from(`+${topic}#`)
      let read: string | undefined
      const fault = faultOf(() => {
        read = readTopicName(bytes, 1, bytes.length - 1, version)
      })
      return isValidTopicName(topic) ? read === topic : fault !== undefined
    }),
    { numRuns: 2000 },
  )
})
