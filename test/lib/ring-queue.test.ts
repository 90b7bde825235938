import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import t from 'tap'
import { RingQueue } from '../../src/lib/ring-queue.ts'

t.test('a queue behaves like an array with push and shift', async (t) => {
  const operation = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('push' as const), count: fc.nat(40) }) },
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('shift' as const), count: fc.nat(40) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), count: fc.constant(1) }) },
  )
  const bound = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 6, max: 200 }))
  fc.assert(
    fc.property(bound, fc.array(operation, { maxLength: 40 }), (countMax, operations) => {
      const queue = new RingQueue<number>(countMax)
      let model: number[] = []
      let nextItem = 0
      for (const { kind, count } of operations) {
        if (kind === 'clear') {
          queue.clear()
          model = []
        }
        for (let i = 0; i < count && kind !== 'clear'; i++) {
          if (kind === 'shift') t.equal(queue.shift(), model.shift())
          else {
            t.equal(queue.push(nextItem), model.length < countMax)
            if (model.length < countMax) model.push(nextItem)
            nextItem++
          }
        }
        t.equal(queue.length, model.length)
        t.equal(queue.peek(), model[0])
        t.strictSame([...queue], model)
      }
    }),
    { numRuns: 60 },
  )
})

t.test('a full queue refuses and goes on working', async (t) => {
  const queue = new RingQueue<string>(2)
  t.equal(queue.push('a'), true)
  t.equal(queue.push('b'), true)
  t.equal(queue.push('c'), false)
  t.equal(queue.shift(), 'a')
  t.equal(queue.push('d'), true)
  t.strictSame([...queue], ['b', 'd'])
})

t.test('a queue that was long works on after it was emptied', async (t) => {
  const queue = new RingQueue<number>(Infinity)
  for (let round = 0; round < 3; round++) {
    for (let item = 0; item < 5000; item++) queue.push(item)
    for (let item = 0; item < 5000; item++) if (queue.shift() !== item) t.fail(`item ${item} is not in its place`)
    t.equal(queue.shift(), undefined)
    t.equal(queue.length, 0)
  }
})

t.test('a queue does not keep what was taken from it', async (t) => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const queue = new RingQueue<object>(10)
  const taken = new WeakRef({})
  queue.push(taken.deref() as object)
  queue.push({})
  queue.shift()
  await setImmediate() // What a WeakRef gave out stays alive until the turn ends.
  collectGarbage()
  t.equal(taken.deref(), undefined)
  t.equal(queue.length, 1)
})
