/** Numbered messages: each arrives once whatever crashes, and what is missing is noticed, both ways. */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { Marks } from '../../src/bridge/marks.ts'
import { type Gap, GatewayReceiver } from '../../src/bridge/receiver.ts'
import type { Mark } from '../../src/ports/store.ts'
import { findNumber, findSkips, formatNumber, formatSkip } from '../../src/protocol/message-number.ts'
import { Numbering } from '../../src/protocol/numbering.ts'
import type { UserProperties } from '../../src/protocol/packet.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'
import { durable, gated, noting, numbers, publishMany, World } from './world.ts'

const down = [{ filter: 'cmd/#', qos: 1 as const, localPrefix: '', remotePrefix: '' }]
const up = [{ filter: 'temp', qos: 1 as const, localPrefix: '', remotePrefix: '' }]

function message(userProperties: UserProperties, contentType?: string): Publish {
  return Publish.create({ topic: 't', payload: 'p', qos: 1, properties: { contentType, userProperties } })
}

function numbered(epoch: string, seq: number, previous = 0): Publish {
  return message([['x-b-seq', formatNumber({ epoch, lane: 0, seq, previous })]])
}

t.test('a message number reads back as it was written, and nothing else reads as one', async (t) => {
  const number = { epoch: '0123abcdef', lane: 2, seq: 2 ** 40, previous: 7 }
  t.same(findNumber([['x-b-seq', formatNumber(number)]]), number)
  for (const text of ['', '1', 'a.0.1', 'a.0.1.2.3', 'A.0.1.0', 'a.-1.1.0', 'a.0.x.0', `${'a'.repeat(40)}.0.1.0`]) {
    t.equal(findNumber([['x-b-seq', text]]), undefined, `"${text}"`)
  }
  t.equal(findNumber(undefined), undefined)
  const skip = { firstSeq: 6, lastSeq: 9, count: 3, reason: 'queue_full' }
  t.same(findSkips([['x-b-skip', formatSkip(skip)]]), [skip])
  t.same(findSkips([['x-b-skip', '9.3.expired']]), [])
})

t.test('the receiver takes each number of an epoch once and in rising order', async (t) => {
  const stored = new Map<string, Mark>()
  const receiver = new GatewayReceiver(new Marks({ set: (key, mark) => stored.set(key, mark) }), new VirtualClock())
  const g1 = receiver.open('g1', 'edge')
  const first = message(
    [
      ['mine', '1'],
      ['x-b-seq', 'aa.0.5.0'],
    ],
    'text/plain',
  )
  t.equal(g1.admit(first), 'new')
  t.same(first.properties, { contentType: 'text/plain', userProperties: [['mine', '1']] }, 'number taken off')
  t.equal(g1.admit(numbered('aa', 5)), 'again')
  t.equal(g1.admit(numbered('aa', 4)), 'again')
  t.equal(g1.admit(numbered('aa', 9)), 'new', 'seqs need not be dense')
  t.equal(receiver.open('g2', 'edge').admit(numbered('aa', 5)), 'new', 'another gateway counts for itself')
  t.equal(g1.admit(numbered('bb', 1)), 'new', 'a new epoch starts anew')
  t.same(stored.get('g1/edge/0'), { epoch: 'bb', seq: 1 })
  t.equal(g1.admit(Publish.create({ topic: 't', payload: 'p' })), 'unnumbered')

  const marks = new Marks({ set: () => {} })
  marks.restore('g1/edge/0', { epoch: 'bb', seq: 1 })
  const restarted = new GatewayReceiver(marks, new VirtualClock())
  t.equal(restarted.open('g1', 'edge').admit(numbered('bb', 1)), 'again', 'after a restart it still knows')
})

t.test('nothing behind a refused message is taken before it', async (t) => {
  const receiver = new GatewayReceiver(new Marks({ set: () => {} }), new VirtualClock())
  const before = receiver.open('g1', 'edge')
  t.equal(before.admit(numbered('aa', 1)), 'new')
  before.refused(numbered('aa', 2, 1), false)
  t.equal(before.admit(numbered('aa', 3, 2)), 'wait', 'or 2 would look like one that came before')
  const after = receiver.open('g1', 'edge')
  t.equal(after.admit(numbered('aa', 2, 1)), 'new')
  t.equal(after.admit(numbered('aa', 3, 2)), 'new')
})

t.test('a gap is told from messages that were never meant for the receiver', async (t) => {
  const gaps: Gap[] = []
  const receiver = new GatewayReceiver(new Marks({ set: () => {} }), new VirtualClock())
  receiver.onGap = (gap) => gaps.push(gap)
  const link = receiver.open('g1', 'edge')
  const sender = new Numbering('aa', 0, 0, 16)
  const send = (seq: number) => link.admit(message(sender.number(seq, seq)))
  send(5)
  send(900)
  t.same(gaps, [], '6 to 899 were for others')
  sender.number(901, 901)
  send(902)
  t.match(gaps, [{ peer: 'g1', lane: 0, firstSeq: 901, lastSeq: 901, isUnexplained: true }])

  gaps.length = 0
  sender.skip(910, 910, 1, 'expired')
  sender.skip(911, 915, 3, 'expired')
  sender.skip(916, 916, 1, 'too_large')
  send(920)
  const skips = [
    { firstSeq: 903, lastSeq: 915, count: 4, reason: 'expired' },
    { firstSeq: 916, lastSeq: 916, count: 1, reason: 'too_large' },
  ]
  t.match(gaps, [{ firstSeq: 903, lastSeq: 916, skips, isUnexplained: false }])

  gaps.length = 0
  sender.number(921, 921)
  sender.skip(922, 922, 1, 'expired')
  send(923)
  t.match(gaps, [{ firstSeq: 921, lastSeq: 922, isUnexplained: true }], '921 was sent, whatever happened behind it')

  gaps.length = 0
  const beforeCrash = new Numbering('aa', 0, 923, 16)
  link.admit(message(beforeCrash.number(930, 7)))
  t.same(gaps, [], 'a sender that starts again knows what was acknowledged')
  link.admit(numbered('bb', 3, 2))
  t.match(gaps, [{ firstSeq: 1, lastSeq: 2, isUnexplained: true }], 'the beginning of a new log is missing')
})

t.test('a message that is sent again tells the same, and one that was not sent is not waited for', async (t) => {
  const sender = new Numbering('aa', 0, 0, 16)
  const first = sender.number(1, 1)
  sender.skip(2, 2, 1, 'expired')
  const third = sender.number(3, 2)
  t.same(third, [
    ['x-b-seq', 'aa.0.3.2'],
    ['x-b-skip', '2-2.1.expired'],
  ])
  t.equal(sender.number(1, 1), first)
  t.equal(sender.number(3, 2), third)
  sender.number(4, 3)
  sender.retract(4, 3, 'too_large')
  t.same(sender.number(5, 3), [
    ['x-b-seq', 'aa.0.5.4'],
    ['x-b-skip', '4-4.1.too_large'],
  ])
})

/** What happened at either end: every message that its store took for good. */
async function history(steps: readonly { readonly at: string; readonly n: number }[]) {
  const atCloud: string[] = []
  const atEdge: string[] = []
  const world = await World.make({
    out: up,
    in: down,
    cloudStore: noting(atCloud),
    edgeStore: noting(atEdge),
  })
  world.cloud.connect(durable('reader')).subscribe('g/+/temp', { qos: 1 })
  world.edge.connect(durable('device')).subscribe('cmd/#', { qos: 1 })
  world.passMs(500)
  let device = world.edge.connect({ clientId: 'd' })
  let operator = world.cloud.connect({ clientId: 'operator' })
  let ups = 0
  let downs = 0
  for (const { at, n } of steps) {
    switch (at) {
      case 'up':
        publishMany(device, ups + 1, ups + n)
        ups += n
        break
      case 'down':
        for (let i = 0; i < n; i++) operator.publish('g/gw1/cmd/x', `down ${++downs}`, { qos: 1 })
        break
      case 'pass':
        world.passMs(n * 100)
        break
      case 'black-hole':
        world.wire.blackHole()
        break
      case 'restore':
        world.wire.restore()
        break
      case 'cut':
        world.wire.cut()
        break
      case 'crash-edge':
        await world.crashEdge()
        device = world.edge.connect({ clientId: 'd' })
        break
      case 'crash-cloud':
        await world.crashCloud()
        operator = world.cloud.connect({ clientId: 'operator' })
    }
  }
  world.wire.restore()
  world.passMs(90_000)
  return {
    world,
    ups,
    downs,
    up: atCloud.filter((payload) => /^\d+$/.test(payload)),
    down: atEdge.filter((payload) => payload.startsWith('down ')),
  }
}

t.test('whatever either side suffers: each message once, in order, both ways, and no gap', async (t) => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ at: fc.constantFrom('up', 'down'), n: fc.integer({ min: 1, max: 30 }) }) },
    { weight: 4, arbitrary: fc.record({ at: fc.constant('pass'), n: fc.integer({ min: 1, max: 60 }) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        at: fc.constantFrom('black-hole', 'restore', 'cut', 'crash-edge', 'crash-cloud'),
        n: fc.constant(0),
      }),
    },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const { up, down, ups, downs, world } = await history(steps)
      const expected = numbers(1, downs).map((n) => `down ${n}`)
      const gapCount = world.cloudGaps.length + world.edgeGaps.length
      return isDeepStrictEqual(up, numbers(1, ups)) && isDeepStrictEqual(down, expected) && gapCount === 0
    }),
    { numRuns: 60 },
  )
  t.pass('60 histories')
})

t.test('a command is taken once though its acknowledgement was lost and the edge crashed', async (t) => {
  const { world, down } = await history([
    { at: 'down', n: 10 },
    { at: 'crash-edge', n: 0 },
  ])
  t.equal(down.length, 10)
  t.same(world.edgeGaps, [])
})

t.test('a broker that has room again in the middle of a burst loses nothing', async (t) => {
  const gate = { isWritable: true }
  const taken: string[] = []
  const world = await World.make({ out: up, cloudStore: (store) => gated(noting(taken)(store), gate) })
  world.cloud.connect(durable('reader')).subscribe('g/#', { qos: 1 })
  world.passMs(500)
  gate.isWritable = false
  const device = world.edge.connect({ clientId: 'd' })
  publishMany(device, 1, 3)
  world.clock.advanceMs(15)
  publishMany(device, 4, 6)
  world.clock.advanceMs(15)
  gate.isWritable = true
  world.passMs(30_000)
  t.same(taken, numbers(1, 6))
  t.same(world.cloudGaps, [])
})

t.test('a cloud that went back to an old state misses what it had, and says so', async (t) => {
  const world = await World.make({ out: up })
  world.cloud.connect(durable('reader')).subscribe('g/#', { qos: 1 })
  world.passMs(500)
  const device = world.edge.connect({ clientId: 'd' })
  publishMany(device, 1, 5)
  world.passMs(1000)
  const marks = new Map(world.cloudDisk.marks)
  publishMany(device, 6, 9)
  world.passMs(1000)
  for (const [key, mark] of marks) world.cloudDisk.marks.set(key, mark)
  await world.crashCloud()
  world.passMs(20_000)
  t.same(world.cloudGaps, [])
  publishMany(device, 10, 10)
  world.passMs(1000)
  t.equal(world.cloudGaps.length, 1)
  t.ok(world.cloudGaps[0]?.isUnexplained)
})

t.test('what expired at the edge is explained to the cloud', async (t) => {
  const world = await World.make({ out: up })
  world.passMs(500)
  const device = world.edge.connect({ clientId: 'd', version: 5 })
  publishMany(device, 1, 1)
  world.passMs(500)
  world.wire.blackHole()
  world.passMs(80_000)
  for (let n = 0; n < 3; n++) {
    device.publish('temp', 'short', { qos: 1, properties: { messageExpiryInterval: 5 } })
  }
  world.passMs(30_000)
  world.wire.restore()
  world.passMs(20_000)
  publishMany(device, 2, 2)
  world.passMs(1000)
  t.match(world.cloudGaps, [{ isUnexplained: false, skips: [{ count: 3, reason: 'expired' }] }])
  const watcher = world.cloud.connect({ clientId: 'watcher' })
  watcher.subscribe('$fleet/gateways/+/loss')
  t.same(JSON.parse(watcher.takePayloads()[0] ?? ''), {
    explained: { expired: 3 },
    unexplained: { count: 0, ranges: [] },
  })
})

t.test('what was counted as lost is not counted again after a crash', async (t) => {
  const world = await World.make({ out: up })
  world.passMs(500)
  const device = world.edge.connect({ clientId: 'd', version: 5 })
  world.wire.blackHole()
  world.passMs(80_000)
  for (let n = 0; n < 3; n++) {
    device.publish('temp', 'short', { qos: 1, properties: { messageExpiryInterval: 5 } })
    publishMany(device, n, n)
  }
  world.passMs(30_000)
  world.wire.restore()
  for (let ms = 0; world.edge.broker.losses.count < 3 && ms < 30_000; ms += 50) world.passMs(50)
  t.equal(world.edge.broker.losses.count, 3)
  await world.crashEdge()
  world.passMs(20_000)
  t.strictSame(world.edge.broker.losses.countByReason, { expired: 3 })
})

t.test('QoS 2 arrives as QoS 2 in both directions, once, although the link is cut', async (t) => {
  const full = (filter: string) => [{ filter, qos: 2 as const, localPrefix: '', remotePrefix: '' }]
  const world = await World.make({ out: full('temp'), in: full('cmd/#') })
  world.passMs(500)
  const above = world.cloud.connect(durable('above'))
  above.subscribe('g/gw1/temp', { qos: 2 })
  const below = world.edge.connect(durable('below'))
  below.subscribe('cmd/#', { qos: 2 })
  const device = world.edge.connect({ clientId: 'device' })
  const app = world.cloud.connect({ clientId: 'app' })
  device.publish('temp', 'up', { qos: 2 })
  app.publish('g/gw1/cmd/a', 'down', { qos: 2 })
  world.passMs(20)
  world.wire.cut()
  world.passMs(20_000)
  for (const [client, payload] of [
    [above, 'up'],
    [below, 'down'],
  ] as const) {
    const messages = client.takeAll().filter((packet) => packet instanceof Publish)
    t.equal(messages.length, 1, `${payload}: once`)
    t.match(messages[0], { qos: 2 })
    t.equal(messages[0]?.payload.toString(), payload)
  }
})

t.test('QoS of a message that comes down is no higher than the rule says', async (t) => {
  const world = await World.make({ in: down })
  world.passMs(500)
  const below = world.edge.connect(durable('below'))
  below.subscribe('cmd/#', { qos: 2 })
  world.cloud.connect({ clientId: 'app' }).publish('g/gw1/cmd/a', 'down', { qos: 2 })
  world.passMs(500)
  t.match(below.takePublish(), { qos: 1 })
})
