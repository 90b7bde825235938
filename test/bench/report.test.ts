import t from 'tap'
import { heading, medianOf, rowsOf } from './report.ts'
import type { Workload } from './workloads.ts'

const flood: Workload = {
  name: 'flood',
  carrier: 'tcp',
  load: [],
  figures: { messagesPerSecond: { of: 'ratio', min: 12 } },
  connectionCount: 1,
}

t.test('the median of the runs counts, figure by figure', (t) => {
  t.strictSame(
    medianOf([
      { p50Us: 9, p99Us: 1 },
      { p50Us: 1, p99Us: 2 },
      { p50Us: 2, p99Us: 9 },
    ]),
    { p50Us: 2, p99Us: 2 },
  )
  t.strictSame(medianOf([{ p50Us: 1 }, { p50Us: 2 }]), { p50Us: 1.5 })
  t.strictSame(medianOf([]), {})
  t.end()
})

t.test('a row tells both figures, their ratio and whether the goal is reached', (t) => {
  const rowOf = (ours: number) =>
    rowsOf(flood, { tidegate: { messagesPerSecond: ours }, mosquitto: { messagesPerSecond: 1000 } })
  t.match(rowOf(12_000), [/^flood +messages\/s +12,000 +1,000 +12\.00x {2}>= 12x yes$/])
  t.match(rowOf(11_990), [/11\.99x {2}>= 12x no$/])
  t.equal(heading.indexOf('goal'), rowOf(12_000)[0]?.indexOf('>='))
  t.end()
})

t.test('without a peer there is no ratio and no verdict on it', (t) => {
  t.match(rowsOf(flood, { tidegate: { messagesPerSecond: 5 } }), [/^flood +messages\/s +5 +- +- {2}>= 12x$/])
  t.end()
})

t.test('a workload may be measured against another, or by itself', (t) => {
  const repeated: Workload = {
    ...flood,
    name: 'flood v5',
    figures: { messagesPerSecond: { of: 'repeated', min: 0.85 }, kbPerConnection: { of: 'figure', max: 6 } },
    repeats: 'flood',
  }
  const medians = {
    tidegate: { messagesPerSecond: 900, kbPerConnection: 6.5 },
    repeated: { messagesPerSecond: 1000 },
  }
  t.match(rowsOf(repeated, medians), [/>= 0\.85x of flood: 0\.90x yes$/, /6\.5 .*<= 6 no$/])
  t.end()
})

t.test('messages that did not arrive are told', (t) => {
  const medians = { tidegate: { messagesPerSecond: 5, missing: 0 }, mosquitto: { missing: 7 } }
  t.match(rowsOf(flood, medians), [/^flood/, /mosquitto: 7 messages did not arrive/])
  t.end()
})

t.test('a broker that was too slow to make the filters is told', (t) => {
  const medians = { mosquitto: { messagesPerSecond: 5, filtersNotMade: 800_000 } }
  t.match(rowsOf(flood, medians), [/^flood/, /mosquitto: without 800,000 filters/])
  t.end()
})
