/**
 * `npm run bench -- --soak MINUTES`: a mix of everything at half the speed that the broker reaches, and whether its
 * memory stays where it was after the first minute. Prints the series and a verdict.
 */
import { readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { type RunningBroker, startBroker } from './brokers.ts'
import type { Generator } from './generator.ts'
import type { Workload } from './workloads.ts'

/** Each below a topic level of its own, so that they do not hear one another. */
const mix = ['pairs qos0', 'pairs qos1', 'pairs qos2', 'fan-out 100', 'fan-in 100'] as const
const calibrationSeconds = 2
const warmUpMs = 60_000
const sampleMs = 10_000
/** What counts as flat. */
const growthMax = 1.05

export interface Soak {
  readonly minutes: number
  /** Of the broker, every ten seconds. */
  readonly residentMb: readonly number[]
  /** The highest of the second half over the highest of the first, after the first minute: a heap breathes by a fifth. */
  readonly growth: number
  /** Messages that did not arrive, and those of which the broker says so. */
  readonly missing: number
  readonly dropped: number
  readonly isPassed: boolean
}

export async function soak(generator: Generator, workloads: readonly Workload[], minutes: number): Promise<Soak> {
  const parts = workloads.filter(({ name }) => (mix as readonly string[]).includes(name))
  const broker = await startBroker('tidegate', 'tcp')
  try {
    const rated: Workload[] = []
    for (const [index, part] of parts.entries()) {
      const { messagesPerSecond = 0 } = await generator.measure(broker, part, calibrationSeconds)
      // What arrives is what was published times the subscribers of each message.
      const fan = part.name.startsWith('fan-out') ? 100 : 1
      const rate = Math.max(1, Math.floor(messagesPerSecond / fan / 2 / parts.length))
      rated.push({ ...part, load: [...part.load, '-r', `${rate}`, '-n', `soak-${index}`] })
    }
    const droppedBefore = await broker.droppedCount()
    const load = Promise.all(rated.map((part) => generator.measure(broker, part, minutes * 60)))
    const residentMb = await sample(broker, minutes * 60_000)
    const missing = (await load).reduce((sum, measured) => sum + (measured.missing ?? 0), 0)
    const dropped = (await broker.droppedCount()) - droppedBefore
    console.log(
      `${missing} messages did not arrive; the broker says that it dropped ${dropped}  ${yesNo(missing === 0)}`,
    )
    const steady = residentMb.slice(Math.floor(Math.min(warmUpMs, minutes * 30_000) / sampleMs))
    const half = Math.floor(steady.length / 2)
    const growth = Math.max(...steady.slice(half)) / Math.max(...steady.slice(0, half))
    console.log(
      `in the second half ${growth.toFixed(2)} times as much as in the first  <= ${growthMax}  ${yesNo(growth <= growthMax)}`,
    )
    const isPassed = missing === 0 && growth <= growthMax
    console.log(isPassed ? `soak of ${minutes} minutes: passed` : `soak of ${minutes} minutes: FAILED`)
    return { minutes, residentMb, growth, missing, dropped, isPassed }
  } finally {
    await broker.stop()
  }
}

async function sample({ pid }: RunningBroker, durationMs: number): Promise<number[]> {
  const residentMb: number[] = []
  for (let passedMs = 0; passedMs < durationMs; passedMs += sampleMs) {
    await setTimeout(sampleMs)
    const kb = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    const mb = Math.round(Number(kb) / 102.4) / 10
    residentMb.push(mb)
    console.log(`${String((passedMs + sampleMs) / 1000).padStart(5)} s  ${mb} MB`)
  }
  return residentMb
}

function yesNo(isReached: boolean): string {
  return isReached ? 'yes' : 'no'
}
