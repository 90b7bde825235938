/**
 * `npm run bench:bridge`: what the bridge promises, with real processes on loopback: a backlog that drains beside live
 * traffic and beside mosquitto's bridge, a link that dies without a packet, and a gateway that was away for a week.
 */
import { parseArgs } from 'node:util'
import { type BrokerName, mosquitto } from '../brokers.ts'
import { deadLink } from './dead-link.ts'
import { type Drained, drain } from './drain.ts'
import { Loads } from './loads.ts'
import { offline } from './offline.ts'

const usage = `npm run bench:bridge -- [--only PART] [--messages N] [--offline N] [--runs 3]
  --only      drain, dead-link or offline
  --messages  of the backlog that drains, 100000 unless given
  --offline   messages that wait for a gateway that was away, 1000000 unless given; 7 days at 10 msg/s are 6048000
  --runs      of the drain, of which the median counts; brokers take turns`

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    messages: { type: 'string', default: '100000' },
    offline: { type: 'string', default: '1000000' },
    runs: { type: 'string', default: '3' },
    help: { type: 'boolean', default: false },
  },
})
const [messageCount, offlineCount, runs] = [values.messages, values.offline, values.runs].map(Number) as [
  number,
  number,
  number,
]

const parts: Readonly<Record<string, (loads: Loads) => Promise<void>>> = {
  drain: drainAll,
  'dead-link': dead,
  offline: away,
}
const chosen = Object.entries(parts).filter(([name]) => name.startsWith(values.only))

if (values.help || chosen.length === 0 || [messageCount, offlineCount, runs].some((value) => !(value >= 1))) {
  console.log(usage)
  process.exitCode = values.help ? 0 : 2
} else {
  const loads = new Loads()
  try {
    row('what', 'figure', 'goal')
    for (const [, part] of chosen) await part(loads)
  } finally {
    loads.remove()
  }
}

async function drainAll(loads: Loads): Promise<void> {
  const runsOf = new Map<BrokerName, Drained[]>([['tidegate', []]])
  if (mosquitto !== undefined) runsOf.set('mosquitto', [])
  for (let run = 0; run < runs; run++) {
    for (const [name, results] of runsOf) results.push(await drain(name, loads, messageCount))
  }
  for (const [name, results] of runsOf) {
    const isOurs = name === 'tidegate'
    const of = (figure: (drained: Drained) => number) => median(results.map(figure))
    const perSecond = of((drained) => drained.perSecond)
    const idle = of((drained) => drained.idleP99Us)
    const besideIdle = (us: number) => `${ms(us)} (${(us / idle).toFixed(1)}x idle)`
    const lane = of((drained) => drained.laneP99Us)
    row(`${name} drains ${round(messageCount)}`, `${round(perSecond)} msg/s`, isOurs && atLeast(perSecond, 20_000))
    const cpu = [of((drained) => drained.edgeUsPerMessage), of((drained) => drained.cloudUsPerMessage)]
    row('  CPU for each', `${cpu.map((us) => us.toFixed(0)).join(' + ')} us below + above`, '')
    const isComplete = results.every((drained) => drained.isComplete)
    row('  once and in order', isComplete ? 'all' : 'NOT ALL', isOurs && verdict('all', isComplete))
    row('  live p99, idle', ms(idle), '')
    row(
      `  live p99, ${isOurs ? 'lane of its own' : 'no lanes'}`,
      besideIdle(lane),
      isOurs && atMost(lane / idle, 2, 'x'),
    )
    row('  live p99, same lane', besideIdle(of((drained) => drained.sameP99Us)), '')
  }
}

async function dead(): Promise<void> {
  const { roundTripMs, noticedMs, lostCount, doubledCount, lateCount } = await deadLink(5)
  const goalMs = Math.round(2 * roundTripMs + 2000)
  row('dead link noticed in', `${round(noticedMs)} ms (worst of 5)`, atMost(noticedMs, goalMs, ' ms'))
  const broken = `${lostCount} lost, ${doubledCount} doubled, ${lateCount} out of order`
  row('  meanwhile', broken, verdict('none', lostCount + doubledCount + lateCount === 0))
}

async function away(loads: Loads): Promise<void> {
  const result = await offline(loads, offlineCount)
  const { restingMegabytes, highestMegabytes, expiredArrivedCount, expiredToldCount, remainingRightCount } = result
  row(`${round(offlineCount)} wait`, `written at ${round(result.preparedPerSecond)} msg/s`, '')
  row('  start with them', `${round(result.startMs)} ms`, atMost(result.startMs, 2000, ' ms'))
  row('  drained', `${round(result.drainedPerSecond)} msg/s`, '')
  row('  once and in order', result.isComplete ? 'all' : 'NOT ALL', verdict('all', result.isComplete))
  for (const { percent, megabytes, timeToEmptyError } of result.points) {
    const told = Number.isNaN(timeToEmptyError) ? 'not told yet' : `${signed(timeToEmptyError)} %`
    row(`  at ${percent} %`, `${megabytes.toFixed(0)} MB, time to empty ${told}`, '')
  }
  const more = highestMegabytes - restingMegabytes
  row('  memory', `${restingMegabytes.toFixed(0)} MB, +${more.toFixed(0)} MB at most`, '')
  const { memoryGrowth } = result
  row('  second half to first', `${memoryGrowth.toFixed(2)} times as much`, atMost(memoryGrowth, 1.1, ' times'))
  row(
    '  time to empty told',
    `${(result.timeToEmptyError * 100).toFixed(0)} % off`,
    atMost(result.timeToEmptyError, 0.2, ''),
  )
  const isExpiryRight = expiredArrivedCount === 0 && expiredToldCount === result.expiringCount
  row(
    '  expired meanwhile',
    `${expiredArrivedCount} came, ${expiredToldCount} in ledger`,
    verdict(`0, ${result.expiringCount}`, isExpiryRight),
  )
  row(
    '  rest of expiry right',
    `${remainingRightCount}`,
    verdict(`${result.expiringCount}`, remainingRightCount === result.expiringCount),
  )
}

function row(what: string, figure: string, goal: string | false): void {
  console.log(`${what.padEnd(28)}${figure.padEnd(34)}${goal || ''}`.trimEnd())
}

function atLeast(value: number, goal: number): string {
  return verdict(`>= ${round(goal)}`, value >= goal)
}

function atMost(value: number, goal: number, unit: string): string {
  return verdict(`<= ${goal}${unit}`, value <= goal)
}

function verdict(goal: string, isReached: boolean): string {
  if (!isReached) process.exitCode = 1
  return `${goal} ${isReached ? 'yes' : 'NO'}`
}

function signed(error: number): string {
  return `${error < 0 ? '' : '+'}${(error * 100).toFixed(0)}`
}

function ms(us: number): string {
  return `${(us / 1000).toFixed(1)} ms`
}

function round(value: number): string {
  return Math.round(value).toLocaleString('en').replaceAll(',', ' ')
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor((values.length - 1) / 2)] ?? Number.NaN
}
