/** Half a minute of fuzzing in each run; `npm run test:fuzz -- --packets 10000000` goes on for long. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { FuzzedConnections } from './fuzzed-connections.ts'

const { SEED } = process.env
const seed = Number(SEED ?? 20_261_125)

/** How much the heap may be larger after the second half than after the first. */
const growthBytesMax = 4_000_000

const halfMs = 15_000

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

t.comment(`SEED=${seed}`)

t.test('fuzzed connections hurt nobody else and leave nothing behind', async (t) => {
  const fuzzed = await FuzzedConnections.start(seed)
  runFor(halfMs, fuzzed)
  const before = heapBytes()
  const { packetCount, connectionCount, faultCount, slowestServeMs } = runFor(halfMs, fuzzed)
  const grown = heapBytes() - before
  t.comment(
    `${packetCount} packets, ${connectionCount} connections, slowest fresh client ${slowestServeMs.toFixed(1)} ms`,
  )
  t.ok(faultCount > connectionCount / 10, `${faultCount} connections ended with a fault`)
  t.ok(faultCount < connectionCount, 'and some did not')
  t.ok(grown < growthBytesMax, `the heap grew by ${grown} bytes`)
  t.same(fuzzed.end(), [], 'nothing is left')
})

function runFor(durationMs: number, fuzzed: FuzzedConnections): ReturnType<FuzzedConnections['run']> {
  const endMs = performance.now() + durationMs
  let report = fuzzed.run(2000)
  while (performance.now() < endMs) report = fuzzed.run(2000)
  return report
}

function heapBytes(): number {
  collectGarbage()
  return process.memoryUsage().heapUsed
}
