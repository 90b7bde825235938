/**
 * Fuzzing for long: `npm run test:fuzz -- --packets 10000000 --seed 7`. Prints a line now and then, and ends with 1 and
 * the seed when the broker throws, keeps something, grows or does not serve. One broker lives through all of it.
 */
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { FuzzedConnections } from './fuzzed-connections.ts'

const { values } = parseArgs({ options: { packets: { type: 'string' }, seed: { type: 'string' } } })
const packetsMax = Number(values.packets ?? 1_000_000)
const seed = Number(values.seed ?? Date.now() % 1_000_000_007)
const lap = Math.min(packetsMax, 250_000)

/** After the first lap the heap may be so much larger, and no more however long it goes on. */
const growthBytesMax = 16_000_000

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

console.log(`seed ${seed}, ${packetsMax} packets`)
const fuzzed = await FuzzedConnections.start(seed)
const startedAtMs = performance.now()
let firstHeapBytes: number | undefined
for (let sent = 0; sent < packetsMax; ) {
  const { packetCount, connectionCount, faultCount, slowestServeMs } = fuzzed.run(Math.min(lap, packetsMax - sent))
  sent = packetCount
  collectGarbage()
  const { heapUsed } = process.memoryUsage()
  firstHeapBytes ??= heapUsed
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(0)
  const heap = (heapUsed / 1_048_576).toFixed(1)
  const served = slowestServeMs.toFixed(1)
  console.log(
    `${seconds} s: ${packetCount} packets, ${connectionCount} connections, ${faultCount} faults, heap ${heap} MB, slowest fresh client ${served} ms`,
  )
  if (heapUsed - firstHeapBytes > growthBytesMax) {
    console.error(`the heap grew by ${heapUsed - firstHeapBytes} bytes, seed ${seed}`)
    process.exit(1)
  }
}
const left = fuzzed.end()
if (left.length > 0) {
  console.error(`left behind: ${left.join(', ')}, seed ${seed}`)
  process.exit(1)
}
console.log('no crash, nothing left behind')
