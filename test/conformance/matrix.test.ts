/** The matrix has no holes: every statement has a test or a written reason, and every tag in a title is a statement. */
import t from 'tap'
import { isBare, readCoverage, rows, strayTags, tagsOf } from './matrix.ts'
import { statements5 } from './statements-5.ts'
import { statements311 } from './statements-311.ts'

const coverage = readCoverage()
const { v5, v311 } = rows(coverage)

t.test('every statement has a test that carries its tag, or a written reason', async (t) => {
  t.same(
    v5.filter((row) => isBare(row, coverage)).map(({ tag }) => tag),
    [],
  )
  t.same(
    v311.filter((row) => isBare(row, coverage)).map(({ tag }) => tag),
    [],
  )
})

t.test('a statement without either is noticed', async (t) => {
  const words = 'somebody has to do it'
  t.ok(isBare({ tag: 'MQTT-9.9.9-9', words, tests: [], excuse: undefined }, coverage))
  t.ok(isBare({ tag: 'MQTT3-9.9.9-9', words, tests: [], excuse: { same: ['9.9.9-9'] } }, coverage))
  t.notOk(isBare({ tag: 'MQTT3-9.9.9-9', words, tests: [], excuse: { same: ['3.1.0-1'] } }, coverage))
})

t.test('every tag in a title is a statement, and no statement stands twice', async (t) => {
  t.same(strayTags(coverage), [])
  for (const [statements, prefix] of [
    [statements5, 'MQTT'],
    [statements311, 'MQTT3'],
  ] as const) {
    const tags = tagsOf(statements, prefix)
    t.equal(new Set(tags).size, tags.length)
  }
})

t.test('a statement with a test of its own does not say that there is none', async (t) => {
  const excused = [...v5, ...v311].filter(({ tests, excuse }) => tests.length > 0 && typeof excuse === 'string')
  t.same(
    excused.map(({ tag }) => tag),
    [],
  )
})
