/**
 * `npm run bench`: how fast the built broker is at its shipped settings, beside the peers that are installed. Prints
 * one table and appends each workload to results.jsonl as soon as it is measured. What is compared takes turns within
 * each run, so that what else the machine does meets all of it.
 */
import { execFileSync } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type BrokerName, brokersFor, mosquitto, startBroker } from './brokers.ts'
import { Generator, type Measured } from './generator.ts'
import { heading, type Medians, medianOf, rowsOf } from './report.ts'
import { soak } from './soak.ts'
import { type Workload, workloads } from './workloads.ts'

const resultsFile = fileURLToPath(new URL('results.jsonl', import.meta.url))
const usage = `npm run bench -- [--only NAME] [--seconds 2] [--runs 3] [--soak MINUTES]
  --only     workloads whose name begins with NAME: ${workloads.map(({ name }) => name).join(', ')}
  --seconds  how long each is measured
  --runs     of which the median counts
  --soak     MINUTES of a mix at half speed instead: does memory stay where it is? Ends with 1 when it does not
The whole table with medians of 5, in less than 20 minutes: npm run bench -- --runs 5`

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    seconds: { type: 'string', default: '2' },
    runs: { type: 'string', default: '3' },
    soak: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
const [seconds, runs] = [Number(values.seconds), Number(values.runs)]
const chosen = workloads.filter(({ name }) => name.startsWith(values.only))

if (values.help || chosen.length === 0 || !(seconds > 0) || !(runs >= 1)) {
  console.log(usage)
  process.exitCode = values.help ? 0 : 2
} else if (values.soak !== undefined && Number(values.soak) > 0) {
  await soakOnce(Number(values.soak))
} else {
  await bench()
}

async function bench(): Promise<void> {
  const generator = new Generator()
  try {
    if (mosquitto === undefined) console.log('mosquitto is not installed, so there are no ratios')
    console.log(heading)
    for (const workload of chosen) {
      if (workload.connectionCount + 100 > openFilesMax()) {
        console.log(`${workload.name}: left out, as ulimit -Hn is ${openFilesMax()}`)
        continue
      }
      if (workload.carrier === 'tls' && !generator.hasTls) {
        console.log(`${workload.name}: left out, as the headers of OpenSSL are missing: apt-get install libssl-dev`)
        continue
      }
      const medians = await measureAll(generator, workload)
      record({ runs: runsOf(workload), results: { [workload.name]: medians } })
      for (const row of rowsOf(workload, medians)) console.log(row)
    }
  } finally {
    generator.remove()
  }
}

async function soakOnce(minutes: number): Promise<void> {
  const generator = new Generator()
  try {
    const result = await soak(generator, workloads, minutes)
    record({ soak: result })
    if (!result.isPassed) process.exitCode = 1
  } finally {
    generator.remove()
  }
}

function runsOf({ runsMax = runs }: Workload): number {
  return Math.min(runs, runsMax)
}

/** A broker that fails in a workload has no figure there; the others go on. */
async function measureAll(generator: Generator, workload: Workload): Promise<Medians> {
  const taking = new Map<keyof Medians, Turn>()
  for (const broker of brokersFor(workload)) taking.set(broker, { broker, workload, figures: [] })
  const repeated = workloads.find(({ name }) => name === workload.repeats)
  if (repeated !== undefined) taking.set('repeated', { broker: 'tidegate', workload: repeated, figures: [] })
  for (let run = 0; run < runsOf(workload); run++) {
    for (const [name, { broker, workload, figures }] of taking) {
      try {
        figures.push(await measureOnce(generator, broker, workload))
      } catch (error) {
        console.log(`${workload.name}: ${broker} failed: ${lastLineOf(error as Error)}`)
        taking.delete(name)
      }
    }
  }
  return Object.fromEntries([...taking].map(([name, { figures }]) => [name, medianOf(figures)]))
}

interface Turn {
  readonly broker: BrokerName
  readonly workload: Workload
  readonly figures: Measured[]
}

async function measureOnce(generator: Generator, name: BrokerName, workload: Workload): Promise<Measured> {
  const broker = await startBroker(name, workload.carrier)
  try {
    return await generator.measure(broker, workload, seconds)
  } finally {
    await broker.stop()
  }
}

/** Where the load says what went wrong. */
function lastLineOf({ message }: Error): string {
  return message.trimEnd().split('\n').at(-1) ?? message
}

function openFilesMax(): number {
  const limit = execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim()
  return limit === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limit)
}

/** What ends a bench too early takes nothing of what was measured until then. */
function record(measured: object): void {
  const circumstances = {
    date: new Date().toISOString(),
    node: process.version,
    commit: commit(),
    cores: availableParallelism(),
    seconds,
  }
  appendFileSync(resultsFile, `${JSON.stringify({ ...circumstances, ...measured })}\n`)
}

/** Undefined outside of a checkout, or without git. */
function commit(): string | undefined {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', stdio: 'pipe' }).trim()
  } catch {
    return undefined
  }
}
