/** Noise as fast as the line brings it, for an hour of virtual time: what it costs the gateway, and what it says. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { SeededRandom } from '../../fakes/seeded-random.ts'
import { connectedPort } from '../../gateway/memory-port.ts'
import { baudRate } from './virtual-line.ts'

const pieceMs = 100
const pieceBytes = (baudRate / 10 / 1000) * pieceMs

export interface GarbageFigures {
  readonly bytes: number
  readonly logLines: number
  readonly heapGrowthMegabytes: number
  readonly cpuMs: number
  /** A device that comes afterwards is understood. */
  readonly isUpAgain: boolean
}

export function measureGarbage(minutes: number): GarbageFigures {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const port = connectedPort()
  port.device.stop()
  port.clock.advanceMs(80_000)
  const random = new SeededRandom(1)
  const lineCount = port.log.lines.length
  collectGarbage()
  const heapBefore = process.memoryUsage().heapUsed
  const cpuBefore = process.cpuUsage()
  const pieces = (minutes * 60_000) / pieceMs
  for (let piece = 0; piece < pieces; piece++) {
    port.driver.deliver(random.bytes(pieceBytes))
    port.clock.advanceMs(pieceMs)
  }
  const { user, system } = process.cpuUsage(cpuBefore)
  const logLines = port.log.lines.length - lineCount
  collectGarbage()
  const heapGrowthMegabytes = (process.memoryUsage().heapUsed - heapBefore) / 1e6
  port.device.start()
  port.clock.advanceMs(1000)
  const isUpAgain = port.listener.status === 'up'
  return { bytes: pieces * pieceBytes, logLines, heapGrowthMegabytes, cpuMs: (user + system) / 1000, isUpAgain }
}
