import fc from 'fast-check'
import t from 'tap'
import { utcText } from '../../src/lib/utc.ts'

t.test('a point in time reads as it does in ISO 8601, leap years included', async (t) => {
  for (const text of ['1970-01-01T00:00:00.000Z', '2000-02-29T23:59:59.999Z', '2100-03-01T00:00:00.000Z']) {
    t.equal(utcText(Date.parse(text)), text)
  }
  const points = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) })
  fc.assert(fc.property(points, (wallMs) => utcText(wallMs) === new Date(wallMs).toISOString()))
})
