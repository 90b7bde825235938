import fc from 'fast-check'
import t from 'tap'
import { Backoff } from '../../src/lib/backoff.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'

t.test('every delay lies between the base and the smaller of the cap and three times the one before', async (t) => {
  const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5000 }),
      fc.integer({ min: 0, max: 100_000 }),
      fc.array(unit, { minLength: 1, maxLength: 50 }),
      (baseMs, spanMs, draws) => {
        const capMs = baseMs + spanMs
        let draw = 0
        const backoff = new Backoff(baseMs, capMs, () => draws[draw++] as number)
        let previousMs = baseMs
        for (let i = 0; i < draws.length; i++) {
          const delayMs = backoff.nextMs()
          t.ok(delayMs >= baseMs && delayMs <= Math.min(capMs, previousMs * 3), `${delayMs} after ${previousMs}`)
          previousMs = delayMs
        }
      },
    ),
    { numRuns: 50 },
  )
})

t.test('bad luck grows to the cap and good luck stays at the base', async (t) => {
  const unlucky = new Backoff(1000, 60_000, () => 0.999_999_999)
  t.strictSame(
    Array.from({ length: 6 }, () => unlucky.nextMs()),
    [3000, 9000, 27_000, 60_000, 60_000, 60_000],
  )
  const lucky = new Backoff(1000, 60_000, () => 0)
  t.strictSame([lucky.nextMs(), lucky.nextMs()], [1000, 1000])
})

t.test('a reset begins at the base again', async (t) => {
  const backoff = new Backoff(1000, 60_000, () => 0.999_999_999)
  backoff.nextMs()
  backoff.nextMs()
  backoff.reset()
  t.equal(backoff.nextMs(), 3000)
})

t.test('a thousand gateways that lost one cloud together come back spread over the first span', async (t) => {
  const random = new SeededRandom(1)
  const bySecond = new Map<number, number>()
  for (let gateway = 0; gateway < 1000; gateway++) {
    const backoff = new Backoff(1000, 120_000, () => random.next(), 20_000)
    const second = Math.floor(backoff.nextMs() / 1000)
    bySecond.set(second, (bySecond.get(second) ?? 0) + 1)
  }
  t.ok(bySecond.size >= 20 && Math.max(...bySecond.values()) < 100, `${[...bySecond.values()]}`)
})
