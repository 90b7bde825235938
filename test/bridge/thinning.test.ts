/** What of a backlog is worth sending: the newest of each topic, one in a while, nothing too old; and what is told of the rest. */
import fc from 'fast-check'
import t from 'tap'
import { Thinning } from '../../src/broker/thinning.ts'
import { Collector, everything, type Options, World } from './world.ts'

const rule = { ...everything, ageSecondsMax: undefined, sampleSeconds: 60 }

/** Offline: what `publish` publishes waits. Then everything comes up. @returns `topic payload`, as it came */
async function throughOutage(out: Options['out'], publish: (world: World) => void | Promise<void>) {
  const world = await World.make({ out: out ?? [] })
  const collector = new Collector(world.cloud, 'g/gw1/#')
  world.passMs(500)
  world.edge.connect({ clientId: 'first' }).publish('t/first', 'first', { qos: 1, packetId: 1 })
  world.passMs(500)
  world.wire.acceptor = undefined
  world.wire.cut()
  world.passMs(1000)
  await publish(world)
  world.wire.acceptor = world.cloud.broker
  world.passMs(30_000)
  world.edge.connect({ clientId: 'last' }).publish('t/live', 'live', { qos: 1, packetId: 1 })
  world.passMs(1000)
  collector.collect()
  const came = collector.payloads.map((payload, at) => `${collector.topics[at]?.slice('g/gw1/t/'.length)} ${payload}`)
  return { world, came: came.slice(1, -1) }
}

function publisher(world: World): (topic: string, payload: string | number) => void {
  const device = world.edge.connect({ clientId: 'd' })
  let packetId = 0
  return (topic, payload) => {
    packetId = (packetId % 1000) + 1
    device.publish(`t/${topic}`, String(payload), { qos: 1, packetId })
  }
}

t.test('of messages that waited only the newest of each topic goes up, and the ledger has the others', async (t) => {
  const { world, came } = await throughOutage([{ ...rule, keep: 'last' }], (world) => {
    const publish = publisher(world)
    for (let n = 1; n <= 50; n++) publish(n % 5 === 0 ? 'b' : 'a', n)
  })
  t.strictSame(came, ['a 49', 'b 50'])
  t.strictSame(world.edge.broker.losses.countByReason, { replaced: 48 })
  const unexplained = world.cloudGaps.filter((gap) => gap.isUnexplained)
  t.strictSame(unexplained, [], 'the cloud knows that nothing else is missing')
  t.equal(
    world.cloudGaps.flatMap(({ skips }) => skips).reduce((sum, { count }) => sum + count, 0),
    48,
  )
})

t.test('messages that do not wait all go up, whatever is kept of those that do', async (t) => {
  const world = await World.make({ out: [{ ...rule, keep: 'last' }] })
  const collector = new Collector(world.cloud, 'g/gw1/#')
  world.passMs(500)
  const publish = publisher(world)
  for (let n = 1; n <= 20; n++) {
    publish('a', n)
    world.passMs(100)
  }
  t.equal(collector.collect().payloads.length, 20)
})

t.test('one message of a topic in a while goes up, and the newest', async (t) => {
  const { world, came } = await throughOutage([{ ...rule, keep: 'sample', sampleSeconds: 60 }], (world) => {
    const publish = publisher(world)
    for (let n = 0; n < 300; n++) {
      publish('a', n)
      world.passMs(1000)
    }
  })
  t.strictSame(came, ['a 0', 'a 60', 'a 120', 'a 180', 'a 240', 'a 299'])
  t.strictSame(world.edge.broker.losses.countByReason, { sampled: 294 })
})

t.test('what waited longer than its rule allows does not go up', async (t) => {
  const { world, came } = await throughOutage([{ ...rule, ageSecondsMax: 100 }], (world) => {
    const publish = publisher(world)
    publish('a', 1)
    world.passMs(90_000)
    publish('a', 2)
    world.passMs(20_000)
  })
  t.strictSame(came, ['a 2'])
  t.strictSame(world.edge.broker.losses.countByReason, { too_old: 1 })
})

t.test('what is kept is known again after a crash', async (t) => {
  const { world, came } = await throughOutage([{ ...rule, keep: 'last' }], async (world) => {
    const publish = publisher(world)
    for (let n = 1; n <= 30; n++) publish('a', n)
    world.passMs(500)
    await world.crashEdge()
    world.passMs(500)
  })
  t.strictSame(came, ['a 30'])
  t.strictSame(world.edge.broker.losses.countByReason, { replaced: 29 })
})

t.test('the first rule that maps a topic decides what is kept of it', async (t) => {
  const rules = [
    { ...rule, filter: 't/a', keep: 'last' as const },
    { ...rule, filter: 't/#', keep: 'all' as const },
  ]
  const { came } = await throughOutage(rules, (world) => {
    const publish = publisher(world)
    for (let n = 1; n <= 6; n++) publish(n % 2 === 0 ? 'b' : 'a', n)
  })
  t.strictSame(came, ['b 2', 'b 4', 'a 5', 'b 6'])
})

t.test('new rules decide what is kept of what waits already', async (t) => {
  const { world, came } = await throughOutage([{ ...rule, keep: 'all' }], (world) => {
    const publish = publisher(world)
    for (let n = 1; n <= 30; n++) publish('a', n)
    world.passMs(500)
    world.bridge.map({ out: [{ ...rule, keep: 'last' }], in: [] })
  })
  t.strictSame(came, ['a 30'])
  t.strictSame(world.edge.broker.losses.countByReason, { replaced: 29 })
})

t.test(
  'whatever waits: the newest of each topic arrives, order holds, and what does not arrive is accounted for',
  async () => {
    const keeps = ['all', 'last', 'sample'] as const
    await fc.assert(
      fc.asyncProperty(
        fc.record({ a: fc.constantFrom(...keeps), b: fc.constantFrom(...keeps) }),
        fc.array(
          fc.oneof(
            { weight: 8, arbitrary: fc.constantFrom('a', 'b', 'c') },
            { weight: 2, arbitrary: fc.constantFrom('1000', '40000') },
            { weight: 1, arbitrary: fc.constant('crash') },
          ),
          { maxLength: 60 },
        ),
        async (keep, steps) => {
          const out = (['a', 'b', 'c'] as const).map((topic) => {
            return { ...rule, filter: `t/${topic}`, keep: topic === 'c' ? ('all' as const) : keep[topic] }
          })
          const published: string[] = []
          const { world, came } = await throughOutage([...out, rule], async (world) => {
            let publish = publisher(world)
            for (const step of steps) {
              if (step === 'crash') {
                world.passMs(500)
                await world.crashEdge()
                publish = publisher(world)
              } else if (Number(step) > 0) {
                world.passMs(Number(step))
              } else {
                publish(step, published.length)
                published.push(`${step} ${published.length}`)
              }
            }
          })
          const numbers = came.map((text) => Number(text.split(' ')[1]))
          const isRising = numbers.every((number, at) => at === 0 || number > (numbers[at - 1] as number))
          const newest = ['a', 'b', 'c'].map((topic) => published.findLast((text) => text.startsWith(topic)))
          const cs = published.filter((text) => text.startsWith('c'))
          return (
            isRising &&
            newest.every((text) => text === undefined || came.includes(text)) &&
            cs.every((text) => came.includes(text)) &&
            came.length + world.edge.broker.losses.count === published.length &&
            world.cloudGaps.every((gap) => !gap.isUnexplained)
          )
        },
      ),
      { numRuns: 25 },
    )
  },
)

t.test('topics beyond what is remembered are sent rather than lost', async (t) => {
  const thinning = new Thinning(() => ({ keep: 'last', sampleMs: 0, ageMsMax: Number.POSITIVE_INFINITY }))
  thinning.add(1, 'a')
  thinning.add(2, 'a')
  t.equal(thinning.excess(1, 'a', 0, 0), 'replaced')
  for (let n = 0; n < 100_000; n++) thinning.add(3 + n, `topic ${n}`)
  t.equal(thinning.excess(1, 'a', 0, 0), undefined)
})
