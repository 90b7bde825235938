/** A device on a pty that is pulled and plugged in again and again while it talks: what stays behind in the gateway. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { PtyPair } from '../../../firmware-sim/pty.ts'
import { WiredDevice } from '../../../firmware-sim/wired-device.ts'
import { SerialPortDriver } from '../../../src/adapters/serial-port/driver.ts'
import { createSystemClock } from '../../../src/adapters/system/clock.ts'
import { systemRandom } from '../../../src/adapters/system/random.ts'
import { SerialListener } from '../../../src/gateway/serial-listener.ts'
import { MqttAcceptor } from '../../fakes/mqtt-acceptor.ts'
import { silentLog } from '../../fakes/test-broker.ts'
import { serialTraits } from '../../gateway/noisy-worlds.ts'
import { baudRate } from './virtual-line.ts'

/** What is made once, by the first of them, is no leak. */
const warmUpShare = 0.1

const readingsMax = 1_000_000

export interface ReplugFigures {
  readonly cycles: number
  readonly produced: number
  readonly missing: number
  readonly descriptorGrowth: number
  readonly heapGrowthMegabytes: number
  readonly residentGrowthMegabytes: number
}

export async function measureReplugs(cycles: number): Promise<ReplugFigures> {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-replug-'))
  const pty = new PtyPair(join(folder, 'host'), join(folder, 'device'))
  await pty.plug()
  const acceptor = new MqttAcceptor()
  // Books that do not grow while memory is watched.
  const arrived = new Uint8Array(readingsMax)
  const listener = new SerialListener({ path: pty.hostPath, baudRate, resetOnOpen: false }, serialTraits, {
    driver: new SerialPortDriver(),
    acceptor,
    clock: createSystemClock(undefined),
    random: systemRandom,
    log: silentLog,
  })
  const options = { id: 's1', baudRate, ratePerSecond: 20, readingCount: Number.POSITIVE_INFINITY }
  const wired = new WiredDevice(options, { path: pty.devicePath, seed: 1 })
  const look = async () => {
    // What piled up on the board while it was unplugged is the board's.
    await until(() => wired.device.waitingCount < 5)
    collectGarbage()
    const { heapUsed, rss } = process.memoryUsage()
    return { heapUsed, rss, descriptors: readdirSync('/proc/self/fd').length }
  }
  const enter = () => {
    for (const n of acceptor.readings.get('s1') ?? []) arrived[n] = 1
    acceptor.readings.clear()
  }
  listener.start()
  wired.start()
  let before = await look()
  for (let cycle = 1; cycle <= cycles; cycle++) {
    const { acknowledged, resent } = wired.device
    await until(() => acknowledged.size > 0)
    if (cycle === Math.ceil(cycles * warmUpShare)) before = await look()
    if (cycle === cycles) break
    await pty.replug()
    await until(() => acceptor.openCount === 0)
    enter()
    acceptor.connections.length = acceptor.diary.length = 0
    acknowledged.clear()
    resent.clear()
  }
  const after = await look()
  wired.device.finish()
  await until(() => wired.device.isDone)
  enter()
  wired.close()
  await listener.stop()
  await pty.unplug()
  rmSync(folder, { recursive: true })
  return {
    cycles,
    produced: wired.device.producedCount,
    missing: wired.device.producedCount - arrived.reduce((sum, one) => sum + one, 0),
    descriptorGrowth: after.descriptors - before.descriptors,
    heapGrowthMegabytes: (after.heapUsed - before.heapUsed) / 1e6,
    residentGrowthMegabytes: (after.rss - before.rss) / 1e6,
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await wait(5)
}
