/**
 * The power-cut run: a recorded workload, then the power is cut at many points of it. After each cut the files are put
 * back as the disk would have them, the store is opened over them, and everything that clients had been told must hold.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { openSqliteStore } from '../../src/adapters/store-sqlite/open.ts'
import { StoreRun } from '../contract/store-run.ts'
import { KillableClock } from '../fakes/killable-clock.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { type Cut, TracedDisk } from './disk.ts'
import { Peer } from './peer.ts'
import { Promises } from './promises.ts'
import { describe } from './trace.ts'
import { Node, type Recording } from './workload.ts'

export interface CutOptions {
  readonly recording: Recording
  readonly cutCount: number
  /** How many of the cuts are tried with the whole broker, too. */
  readonly brokerCount: number
  readonly seed: number
  /** Empty. */
  readonly folder: string
}

export interface CutResult {
  readonly cutCount: number
  readonly countByCut: Readonly<Record<Cut, number>>
  readonly brokerCount: number
  /** One line for each promise that broke, with the point of the cut. */
  readonly broken: readonly string[]
}

/** Half of the cuts are torn: that is where the surprises are. */
const cuts: readonly Cut[] = ['nothing more', 'torn', 'everything', 'torn']

export async function cutRun(options: CutOptions, onCut: (count: number) => void): Promise<CutResult> {
  const { recording, cutCount, brokerCount, seed, folder } = options
  const { events, dataDir } = recording
  const random = new SeededRandom(seed)
  const points = cutPoints(events.length, cutCount, random)
  const disk = new TracedDisk(dataDir)
  const promises = new Promises()
  const broken: string[] = []
  const countByCut = { 'nothing more': 0, torn: 0, everything: 0 }
  let doneCount = 0
  let brokersTried = 0
  for (const [index, event] of events.entries()) {
    disk.replay(event)
    promises.replay(event)
    for (let cutsHere = points.get(index) ?? 0; cutsHere > 0; cutsHere--) {
      const cut = cuts[doneCount % cuts.length] as Cut
      const place = `${cut} after event ${index} of ${events.length} (${describe(event)}), seed ${seed}`
      const files = disk.cut(cut, random)
      restore(files, folder)
      for (const each of await openedStore(folder, promises)) broken.push(`${place}: ${each}`)
      if (doneCount % Math.max(1, Math.floor(cutCount / brokerCount)) === 0 && brokersTried < brokerCount) {
        brokersTried++
        restore(files, folder)
        for (const each of await startedBroker(folder, promises)) broken.push(`${place}, whole broker: ${each}`)
      }
      countByCut[cut]++
      onCut(++doneCount)
    }
  }
  return { cutCount: doneCount, countByCut, brokerCount: brokersTried, broken }
}

/** Event -> how many cuts come after it. */
function cutPoints(eventCount: number, cutCount: number, random: SeededRandom): Map<number, number> {
  const points = new Map<number, number>()
  for (let i = 0; i < cutCount; i++) {
    const point = Math.floor(((i + random.next()) * eventCount) / cutCount)
    points.set(point, (points.get(point) ?? 0) + 1)
  }
  return points
}

function restore(files: ReadonlyMap<string, Buffer>, folder: string): void {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const [path, content] of files) writeFileSync(join(folder, basename(path)), content)
}

async function openedStore(folder: string, promises: Promises): Promise<string[]> {
  try {
    const run = await StoreRun.start(
      openSqliteStore({
        path: join(folder, 'tidegate.db'),
        durability: 'disk',
        commitIntervalMs: 0,
        clock: new KillableClock(),
        random: new SeededRandom(1),
        log: new RecordingLog(),
      }),
    )
    const broken = await promises.brokenBy(run)
    await run.store.close()
    return broken
  } catch (error) {
    return [`the store does not open: ${(error as Error).message}`]
  }
}

/** Starts the broker, and lets the subscriber come back for everything that was acknowledged and is not accounted for. */
async function startedBroker(folder: string, promises: Promises): Promise<string[]> {
  const node = await Node.start(dirname(folder), folder, {})
  try {
    const away = await Peer.connect(node.port, 'away')
    if (!promises.isSubscribed || promises.acknowledged.size === 0) return []
    const last = Math.max(...promises.acknowledged)
    const missing = (): number => {
      const numbers = new Set(away.received.map(({ payload }) => Number.parseInt(payload, 10)))
      const first = Math.min(...numbers, last + 1)
      return [...promises.acknowledged].filter((number) => number >= first && !numbers.has(number)).length
    }
    const isComplete = () => away.received.some(({ payload }) => Number.parseInt(payload, 10) >= last)
    const timeout = new Promise<void>((resolve) => setTimeout(resolve, 60_000).unref())
    await Promise.race([away.until(isComplete), timeout])
    away.close()
    if (!isComplete()) return [`message ${last} does not arrive`]
    return missing() === 0 ? [] : [`${missing()} acknowledged messages do not arrive`]
  } finally {
    await node.end('SIGKILL')
  }
}
