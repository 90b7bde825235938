import fc from 'fast-check'
import t from 'tap'
import { overlapOf } from '../../src/protocol/filter-overlap.ts'
import { topicMatches } from '../../src/protocol/topic.ts'

t.test('the common topics of two filters are a filter', async (t) => {
  for (const [one, other, common] of [
    ['a/b', 'a/b', 'a/b'],
    ['a/b', 'a/c', undefined],
    ['a/+', 'a/b', 'a/b'],
    ['+/b', 'a/+', 'a/b'],
    ['#', 'a/+/b', 'a/+/b'],
    ['a/#', 'a', 'a'],
    ['a/#', 'b/#', undefined],
    ['a/#', '+/b/#', 'a/b/#'],
    ['a/+/c', 'a/b/#', 'a/b/c'],
    ['a', 'a/b', undefined],
    ['#', '$SYS/#', undefined],
    ['$SYS/#', '$SYS/+', '$SYS/+'],
  ] as const) {
    t.equal(overlapOf(one, other), common, `${one} and ${other}`)
    t.equal(overlapOf(other, one), common, `${other} and ${one}`)
  }
})

t.test('a topic is in the overlap exactly when both filters match it', async (t) => {
  const level = fc.constantFrom('a', 'b', '', '$x')
  const topic = fc
    .array(level, { minLength: 1, maxLength: 4 })
    .map((levels) => levels.join('/'))
    .filter((text) => text !== '')
  const filter = fc
    .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 3 }), fc.boolean())
    .map(([levels, isOpen]) => (isOpen || levels.length === 0 ? [...levels, '#'] : levels).join('/'))
    .filter((text) => text !== '')
  fc.assert(
    fc.property(filter, filter, topic, (one, other, name) => {
      const common = overlapOf(one, other)
      const isInOverlap = common !== undefined && topicMatches(common, name)
      return isInOverlap === (topicMatches(one, name) && topicMatches(other, name))
    }),
    { numRuns: 3000 },
  )
  t.pass('3000 triples')
})
