/**
 * What happens while the disk is recorded: a durable subscriber that goes away, another one that is told numbers, and a
 * publisher at QoS 1 and 2, some of it retained, some of it safer than the rest, while the broker is killed once,
 * stopped once, and runs into the bound of its backlog.
 */
import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SeededRandom } from '../fakes/seeded-random.ts'
import { Lines, startCommand } from '../fixtures/tidegate-command.ts'
import { durabilityRules, Peer } from './peer.ts'
import { shimEnv } from './shim.ts'
import { readTrace, type TraceEvent } from './trace.ts'

export const builtFile = 'dist/src/cli/main.js'

/** Messages that the log keeps at most: less than are published. */
export const backlogCountMax = 1000

export interface Recording {
  readonly events: readonly TraceEvent[]
  /** The directory whose files were recorded. */
  readonly dataDir: string
}

export interface WorkloadOptions {
  /** Empty; everything is put below it. */
  readonly folder: string
  readonly messageCount: number
  readonly isSyncOff: boolean
  readonly random: SeededRandom
}

export async function recordWorkload(options: WorkloadOptions): Promise<Recording> {
  const { folder, messageCount, isSyncOff, random } = options
  const dataDir = join(folder, 'data')
  const trace = join(folder, 'trace')
  const env = shimEnv({ folder: dataDir, trace, isSyncOff })
  const toml = `store.backlog_count_max = ${backlogCountMax}\n${durabilityRules}`
  const start = () => Node.start(folder, dataDir, env, toml, 'gateways = true')

  let node = await start()
  const away = await Peer.connect(node.port, 'away')
  await away.subscribe('#', 2)
  away.close()
  const ends = [messageCount / 3, (2 * messageCount) / 3, messageCount].map(Math.floor)
  let next = 1
  for (const [life, end] of ends.entries()) {
    const told = await Peer.connect(node.port, 'told', 5, true)
    if (life === 0) await told.subscribe('#', 1)
    const publisher = await Peer.connect(node.port, 'publisher')
    while (next <= end) {
      // All of a burst share a few commits, a short one a single one; after it everything is acknowledged.
      const burst = Math.min(1 + random.below(random.below(2) === 0 ? 3 : 40), end - next + 1)
      for (let i = 0; i < burst; i++, next++) publisher.publishNumber(next, 100 + random.below(800))
      await publisher.settled()
      if (random.below(10) === 0) await new Promise((resolve) => setTimeout(resolve, random.below(20)))
    }
    publisher.close()
    told.close()
    if (life < ends.length - 1) {
      await node.end(life === 0 ? 'SIGKILL' : 'SIGTERM')
      node = await start()
    }
  }
  await node.end('SIGKILL')
  const events = readTrace(readFileSync(trace))
  rmSync(trace)
  return { events, dataDir }
}

/** The built broker. */
export class Node {
  readonly port: number
  readonly #child: ReturnType<typeof startCommand>

  private constructor(child: ReturnType<typeof startCommand>, port: number) {
    this.#child = child
    this.port = port
  }

  /** @param folder for its settings @param listener more of its listener */
  static async start(folder: string, dataDir: string, env: NodeJS.ProcessEnv, toml = '', listener = ''): Promise<Node> {
    const file = join(folder, 'edge.toml')
    writeFileSync(file, `${toml}\n[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:0"\n${listener}\n`)
    const options = { file: builtFile, env: { ...env, TIDEGATE_DATA_DIR: dataDir } }
    const child = startCommand(['edge', '--config', file], options)
    const line = await new Lines(child.stderr).with('listener open')
    if (line === '') throw new Error('the broker did not start')
    child.stderr?.resume()
    const { bind } = JSON.parse(line) as { bind: string }
    return new Node(child, Number(bind.slice(bind.lastIndexOf(':') + 1)))
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill(signal)
    await gone
  }
}
