/**
 * `npm run bench:store`: how fast the store takes and gives, how much it writes, and how it starts, beside the bare
 * package `sqlite3` and mosquitto with persistence. mosquitto never syncs: what it has acknowledged a power cut takes,
 * and until it saves (every 30 minutes, or at its end) so does a crash.
 */
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { bareMultiRowsPerSecond, bareRowsPerSecond } from './bare-sqlite.ts'
import { type BrokerName, brokersFor } from './brokers.ts'
import { StoringBroker } from './store-brokers.ts'

/** What keeps messages on disk. */
const brokerNames = brokersFor({ carrier: 'tcp', load: [] }).filter((name) => name !== 'aedes')

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    messages: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '20' },
  },
})
const messageCount = Number(values.messages)
const wearSeconds = Number(values.seconds)

const publisherCount = 50
const payloadBytes = 64
const wearPayloadBytes = 150
const wearRates = [1, 10, 100, 1000]

/** Compiled for each bench. */
let built: string | undefined

const parts: Readonly<Record<string, () => Promise<void>>> = { backlog, wear }

/** Taking, starting with, and giving back a large backlog. */
async function backlog(): Promise<void> {
  const taken = new Map<BrokerName, number>()
  const drained = new Map<BrokerName, number>()
  for (const name of brokerNames) {
    const broker = new StoringBroker(name)
    try {
      const emptyMs = await broker.start()
      await setTimeout(2000)
      const emptyBytes = broker.residentBytes()
      await load(broker, 'leave')
      if (name === 'tidegate') await broker.loopDelayMs()
      const commitsBefore = name === 'tidegate' ? await broker.commitCount() : 0
      const cpuBefore = broker.cpuSeconds()
      const { acknowledged, seconds } = await load(
        broker,
        'publish',
        messageCount,
        publisherCount,
        payloadBytes,
        600,
        0,
      )
      const takeCpu = microseconds((broker.cpuSeconds() - cpuBefore) / acknowledged)
      const rate = acknowledged / seconds
      taken.set(name, rate)
      print(
        `${name} takes`,
        `${round(rate)} msg/s of ${payloadBytes} B from ${publisherCount} clients, QoS 1, for a session that is away; ${takeCpu} each`,
      )
      if (name === 'tidegate') {
        const delayMs = await broker.loopDelayMs()
        const rowsPerCommit = Math.round(acknowledged / ((await broker.commitCount()) - commitsBefore))
        print('event loop p99', `${delayMs.toFixed(1)} ms delay meanwhile (goal: 10)`)
        const bare = { folder: broker.folder, rowsPerCommit, payloadBytes, seconds: 4 }
        const single = await bareRowsPerSecond(bare)
        const multi = await bareMultiRowsPerSecond(bare)
        print(
          'bare sqlite3',
          `${round(single)} rows/s, ${rowsPerCommit} a commit, one INSERT a row: ${percent(rate / single)} of it (goal: 40 %)`,
        )
        print('bare sqlite3', `${round(multi)} rows/s with one INSERT a commit: ${percent(rate / multi)} of it`)
      }
      await broker.stop()
      const fullMs = await broker.start()
      await setTimeout(2000)
      const moreBytes = broker.residentBytes() - emptyBytes
      print(
        `${name} starts`,
        `in ${round(fullMs)} ms with ${acknowledged} messages, ${round(emptyMs)} ms without; ${(moreBytes / 2 ** 20).toFixed(1)} MiB more resident`,
      )
      const cpuThen = broker.cpuSeconds()
      const given = await load(broker, 'drain', acknowledged)
      const giveCpu = microseconds((broker.cpuSeconds() - cpuThen) / acknowledged)
      drained.set(name, (given.received ?? 0) / given.seconds)
      print(
        `${name} gives`,
        `${round((given.received ?? 0) / given.seconds)} msg/s to the session that is back (goal: 100 000); ${giveCpu} each`,
      )
    } finally {
      await broker.remove()
    }
  }
  ratio('takes', taken)
  ratio('gives', drained)
}

/** Bytes written for each message, at a steady rate. */
async function wear(): Promise<void> {
  for (const rate of wearRates) {
    const perMessage = new Map<BrokerName, number>()
    for (const name of brokerNames) {
      const broker = new StoringBroker(name)
      try {
        await broker.start()
        await load(broker, 'leave')
        await setTimeout(1500)
        const before = broker.writtenBytes()
        const { acknowledged } = await load(broker, 'publish', 4_000_000_000, 1, wearPayloadBytes, wearSeconds, rate)
        await setTimeout(1500)
        const bytes = (broker.writtenBytes() - before) / acknowledged
        perMessage.set(name, bytes)
        const megabytesPerDay = (bytes * rate * 86_400) / 1e6
        print(
          `${name} writes`,
          `${round(bytes)} B for each message of ${wearPayloadBytes} B at ${rate} msg/s, ${round(megabytesPerDay)} MB a day`,
        )
      } finally {
        await broker.remove()
      }
    }
    if (brokerNames.length > 1 && rate === wearRates[0]) {
      print('', 'mosquitto keeps everything in memory until it saves, so its figure is what a crash would lose')
    }
  }
}

interface Loaded {
  readonly acknowledged: number
  readonly received?: number
  readonly seconds: number
}

async function load(broker: StoringBroker, word: string, ...numbers: number[]): Promise<Loaded> {
  const { stdout } = await promisify(execFile)(generator(), [word, String(broker.port), ...numbers.map(String)])
  return JSON.parse(stdout) as Loaded
}

function generator(): string {
  if (built !== undefined) return built
  const source = fileURLToPath(new URL('store-load.c', import.meta.url))
  built = join(mkdtempSync(join(tmpdir(), 'bench-store-load-')), 'store-load')
  execFileSync('cc', ['-O2', '-o', built, source], { stdio: 'inherit' })
  return built
}

function ratio(what: string, rates: ReadonlyMap<BrokerName, number>): void {
  const [ours, theirs] = [rates.get('tidegate'), rates.get('mosquitto')]
  if (ours !== undefined && theirs !== undefined)
    print(what, `${(ours / theirs).toFixed(1)} times mosquitto, which does not sync`)
}

function print(what: string, figure: string): void {
  console.log(`${what.padEnd(20)}${figure}`)
}

function round(value: number): string {
  return Math.round(value).toLocaleString('en').replaceAll(',', ' ')
}

function microseconds(seconds: number): string {
  return `${(seconds * 1e6).toFixed(1)} µs of CPU`
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}

for (const [name, part] of Object.entries(parts)) if (name.startsWith(values.only)) await part()
if (built !== undefined) rmSync(dirname(built), { recursive: true })
