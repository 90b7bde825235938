/** Requests and answers across a bridge: the answer finds its way back, whatever topics are called on the other side. */
import t from 'tap'
import { Mapping, type MappingRule } from '../../src/bridge/mapping.ts'
import { ResponseTable } from '../../src/bridge/response-table.ts'
import type { TestBroker } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'
import { durable, type Options, World } from './world.ts'

const rule = (filter: string, localPrefix = '', remotePrefix = ''): MappingRule => ({
  filter,
  qos: 1,
  localPrefix,
  remotePrefix,
})

/** `asker` at `from` asks over `topic` and hears of `responseTopic`; who answers at `to` hears the request as `heard`. */
async function roundTrip(
  world: World,
  request: { from: TestBroker; topic: string; responseTopic: string; to: TestBroker; heard: string },
): Promise<{ given: string | undefined; answers: string[]; correlation: string | undefined }> {
  const { from, topic, responseTopic, to, heard } = request
  const asker = from.connect(durable('asker'))
  asker.subscribe(responseTopic, { qos: 1 })
  const answerer = to.connect(durable('answerer'))
  answerer.subscribe(heard, { qos: 1 })
  const correlationData = Buffer.from([0, 7, 255])
  asker.publish(topic, 'how much?', { qos: 1, properties: { responseTopic, correlationData } })
  world.passMs(1000)
  const { properties } = answerer.takePublish()
  const given = properties?.responseTopic
  answerer.publish(given ?? '', '42', {
    qos: 1,
    packetId: 2,
    properties: { correlationData: properties?.correlationData },
  })
  world.passMs(1000)
  const answers = asker.takeAll().filter((packet) => 'payload' in packet)
  const correlation = answers[0]?.properties?.correlationData as Buffer | undefined
  return { given, answers: answers.map(({ payload }) => String(payload)), correlation: correlation?.toString('hex') }
}

async function worldOf(options: Options): Promise<World> {
  const world = await World.make(options)
  world.passMs(500)
  return world
}

t.test('mosquitto#1896: a Response Topic that the rules take back is called as they call it', async (t) => {
  const up = await worldOf({ out: [rule('ask/#', '', 'x/')], in: [rule('answers/#', '', 'y/')] })
  const above = { from: up.edge, topic: 'ask/a', responseTopic: 'answers/a', to: up.cloud, heard: 'g/gw1/x/ask/a' }
  t.same(await roundTrip(up, above), { given: 'g/gw1/y/answers/a', answers: ['42'], correlation: '0007ff' })

  const down = await worldOf({ out: [rule('answers/#', '', 'y/')], in: [rule('ask/#', '', 'x/')] })
  const responseTopic = 'g/gw1/y/answers/a'
  const below = { from: down.cloud, topic: 'g/gw1/x/ask/a', responseTopic, to: down.edge, heard: 'ask/a' }
  t.same(await roundTrip(down, below), { given: 'answers/a', answers: ['42'], correlation: '0007ff' })
})

t.test('a Response Topic at the gateway that no rule takes back gets one that does', async (t) => {
  const world = await worldOf({ out: [rule('ask/#')], in: [] })
  const request = { from: world.edge, topic: 'ask/a', responseTopic: 'me/a', to: world.cloud, heard: 'g/gw1/ask/a' }
  const { given, answers } = await roundTrip(world, request)
  t.match(given, /^g\/gw1\/response\/edge-gw1\/[0-9a-z]+-1$/)
  t.same(answers, ['42'])
})

for (const [name, out] of [
  ['that the gateway has no topic for', [rule('nothing')]],
  ['although everything goes up', [rule('#')]],
] as const) {
  t.test(`a Response Topic in the cloud ${name} gets one`, async (t) => {
    const world = await worldOf({ out, in: [rule('ask/#', 'here/', '')] })
    const request = { from: world.cloud, topic: 'g/gw1/ask/a', responseTopic: 'apps/7/answers', to: world.edge }
    const { given, answers, correlation } = await roundTrip(world, { ...request, heard: 'here/ask/a' })
    t.match(given, /^response\/(up|above)\/[0-9a-z]+-1$/)
    t.same(answers, ['42'])
    t.equal(correlation, '0007ff')
  })
}

t.test('an answer is taken although the connection was lost in between', async (t) => {
  const world = await worldOf({ out: [rule('ask/#')], in: [] })
  const asker = world.edge.connect(durable('asker'))
  asker.subscribe('me/a', { qos: 1 })
  const answerer = world.cloud.connect(durable('answerer'))
  answerer.subscribe('g/gw1/ask/a', { qos: 1 })
  asker.publish('ask/a', 'how much?', { qos: 1, properties: { responseTopic: 'me/a' } })
  world.passMs(1000)
  const given = answerer.takePublish().properties?.responseTopic ?? ''
  world.wire.cut()
  answerer.publish(given, '42', { qos: 1, packetId: 2 })
  world.passMs(15_000)
  t.same(asker.takePayloads(), ['42'])
  world.passMs(600_000)
  answerer.publish(given, 'too late', { qos: 1, packetId: 3 })
  world.passMs(1000)
  t.same(asker.takePayloads(), [])
})

t.test('a gateway answers only where it was asked to', async (t) => {
  const world = await worldOf({ out: [rule('#')], in: [] })
  const watcher = world.cloud.connect({ clientId: 'w' })
  watcher.subscribe('#')
  world.edge.connect({ clientId: 'sly' }).publish('response/above/0-1', 'x', { qos: 1 })
  world.passMs(1000)
  t.equal(watcher.takePublish().topic, 'g/gw1/response/above/0-1', 'an ordinary topic of its own')
})

t.test('the Response Topic of a client below a mountpoint is there, too', async (t) => {
  const world = await worldOf({})
  const traits = { mountpoint: 'tenant/a/' }
  const inside = world.cloud.connect({ clientId: 'inside', version: 5 }, traits)
  const other = world.cloud.connect({ clientId: 'other', version: 5 }, traits)
  other.subscribe('ask')
  const outside = world.cloud.connect({ clientId: 'outside', version: 5 })
  outside.subscribe('tenant/a/ask')
  inside.publish('ask', '?', { properties: { responseTopic: 'answers' } })
  t.equal(outside.takePublish().properties?.responseTopic, 'tenant/a/answers')
  t.equal(other.takePublish().properties?.responseTopic, 'answers')
})

t.test('a table of response topics is bounded in time and number, and keeps the token of what is in use', async (t) => {
  const clock = new VirtualClock()
  const table = new ResponseTable(clock)
  const first = table.tokenFor('a')
  t.equal(table.tokenFor('a'), first)
  t.equal(table.topicOf(first), 'a')
  for (let n = 0; n < 1000; n++) table.tokenFor(`t${n}`)
  t.equal(table.topicOf(first), undefined)
  const last = table.tokenFor('b')
  clock.advanceMs(600_001)
  t.equal(table.topicOf(last), undefined)
  t.notOk([first, last].includes(new ResponseTable(clock).tokenFor('a')), 'no token comes again after a restart')
})

t.test('a topic of the far side is traced back only to one that leads there', async (t) => {
  const mapping = new Mapping([rule('a/#', 'x/', 'y/'), rule('', 'one', 'other'), rule('#', '', 'z/')], 'out')
  t.equal(mapping.unmap('y/a/b'), 'x/a/b')
  t.equal(mapping.unmap('other'), 'one')
  t.equal(mapping.unmap('z/c'), 'c')
  t.equal(mapping.unmap('z/x/a/b'), undefined, 'goes to y/')
  t.equal(mapping.unmap('q'), undefined)
})
