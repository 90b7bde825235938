/** Many devices in this one process, in real time, on lines in memory and the broker core. */

import { sumOf } from '../../../firmware-sim/fleet/judge.ts'
import type { Verdict } from '../../../firmware-sim/oracle/account.ts'
import { createSystemClock } from '../../../src/adapters/system/clock.ts'
import { SeededRandom } from '../../fakes/seeded-random.ts'
import { MemoryGateway } from './memory-gateway.ts'

const tickMs = 100
/** As USB adapters gather bytes; a timer for every millisecond of every line would be most of the work. */
const usbLatencyMs = 16
const settleMsMax = 120_000
/** Real fleets have no common beat, and a process that just began is slow: all in one second is another measurement. */
const startEveryMs = 5
const baudRate = 115_200
const payloadBytes = 64

export interface FleetFigures {
  readonly verdict: Verdict
  readonly connected: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly cpuShare: number
  readonly megabytes: number
}

export async function measureFleet(count: number, ratePerSecond: number, seconds: number): Promise<FleetFigures> {
  const clock = createSystemClock(undefined)
  const gateway = await MemoryGateway.start(clock)
  const random = new SeededRandom(1)
  const startMs = Math.max(1000, count * startEveryMs)
  const tick = setInterval(() => gateway.tick(), tickMs)
  for (let at = 1; at <= count; at++) {
    const options = { id: `m${at}`, baudRate, payloadBytes, ratePerSecond, readingCount: seconds * ratePerSecond }
    const { cable } = gateway.add(options, at, usbLatencyMs)
    setTimeout(() => cable.device.start(), random.next() * startMs)
  }
  const cpuBefore = process.cpuUsage()
  const startedAtMs = performance.now()
  const untilMs = startedAtMs + startMs + seconds * 1000 + settleMsMax
  let connected = 0
  const isDone = () => gateway.devices.every(({ cable, account }) => cable.device.isDone && account.isSettled)
  while (performance.now() < untilMs && !isDone()) {
    await new Promise((resolve) => setTimeout(resolve, 250))
    connected = Math.max(connected, gateway.devices.filter(({ cable }) => cable.device.isConnected).length)
  }
  const { user, system } = process.cpuUsage(cpuBefore)
  const cpuShare = (user + system) / 1000 / (performance.now() - startedAtMs)
  for (const { account, cable } of gateway.devices) account.producedCount = cable.device.producedCount
  const verdicts = gateway.devices.map(({ account }) => account.verdict())
  const { delays } = gateway.subscriber
  const megabytes = process.memoryUsage().rss / 1e6
  clearInterval(tick)
  await gateway.stop()
  return {
    verdict: sumOf('all', verdicts),
    connected,
    p50Ms: delays.percentileMs(0.5),
    p99Ms: delays.percentileMs(0.99),
    cpuShare,
    megabytes,
  }
}
