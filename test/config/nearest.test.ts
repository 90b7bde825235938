import fc from 'fast-check'
import t from 'tap'
import { nearest, slipCount } from '../../src/config/nearest.ts'

t.test('typing slips are counted', (t) => {
  const cases: [a: string, b: string, slips: number][] = [
    ['', '', 0],
    ['bind', 'bind', 0],
    ['', 'bind', 4],
    ['bnd', 'bind', 1],
    ['biind', 'bind', 1],
    ['bimd', 'bind', 1],
    ['bnid', 'bind', 1],
    ['kitten', 'sitting', 3],
    ['ca', 'abc', 3],
  ]
  for (const [a, b, slips] of cases) t.equal(slipCount(a, b), slips, `${a} ${b}`)
  t.end()
})

t.test('the count is the same in both directions, 0 only for the same word, never more than the longer word', (t) => {
  const word = fc.string({ maxLength: 12 })
  fc.assert(
    fc.property(word, word, (a, b) => {
      const slips = slipCount(a, b)
      return slips === slipCount(b, a) && (slips === 0) === (a === b) && slips <= Math.max(a.length, b.length)
    }),
  )
  t.end()
})

t.test('the nearest word is suggested, and none when nothing is near', (t) => {
  const words = ['inflight_max', 'queue_count_max', 'receive_maximum', 'bind', 'ca']
  t.equal(nearest('inflght_max', words), 'inflight_max')
  t.equal(nearest('recieve_maximum', words), 'receive_maximum')
  t.equal(nearest('cs', words), 'ca')
  t.equal(nearest('zebra', words), undefined)
  t.equal(nearest('', []), undefined)
  t.end()
})
