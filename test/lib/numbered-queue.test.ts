import fc from 'fast-check'
import t from 'tap'
import { NumberedQueue } from '../../src/lib/numbered-queue.ts'

t.test('items are found by number until they are dropped', async (t) => {
  const queue = new NumberedQueue<string>(7)
  t.equal(queue.firstNumber, 7)
  t.equal(queue.nextNumber, 7)
  t.equal(queue.push('a'), 7)
  t.equal(queue.push('b'), 8)
  t.equal(queue.push('c'), 9)
  queue.dropUpTo(8)
  t.strictSame(
    [6, 7, 8, 9, 10].map((number) => queue.at(number)),
    [undefined, undefined, undefined, 'c', undefined],
  )
  queue.dropUpTo(100)
  t.equal(queue.firstNumber, 10, 'numbers are not skipped')
  t.equal(queue.push('d'), 10)
})

t.test('a run ends at its limits but always has its first item', async (t) => {
  const queue = new NumberedQueue<number>(1)
  for (const weight of [5, 1, 1, 1, 9]) queue.push(weight)
  const run = (from: number, to: number, weightMax: number) => queue.run(from, to, weightMax, (weight) => weight)
  t.strictSame(run(1, 5, 7), [5, 1, 1])
  t.strictSame(run(2, 3, 7), [1, 1])
  t.strictSame(run(5, 5, 0), [9])
  t.strictSame(run(4, 99, 99), [1, 9])
  t.strictSame(run(6, 99, 99), [])
})

t.test('any sequence of pushes and drops agrees with a plain map', async () => {
  const step = fc.record({ pushCount: fc.nat(1500), dropCount: fc.nat(1500) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const queue = new NumberedQueue<number>(1)
      let first = 1
      let next = 1
      for (const { pushCount, dropCount } of steps) {
        for (let i = 0; i < pushCount; i++) queue.push(next++)
        first = Math.min(first + dropCount, next)
        queue.dropUpTo(first - 1)
        if (queue.firstNumber !== first || queue.nextNumber !== next) return false
        for (const number of [first - 1, first, next - 1, next]) {
          if (queue.at(number) !== (number >= first && number < next ? number : undefined)) return false
        }
      }
      return true
    }),
    { numRuns: 50 },
  )
})
