/** Medians of the runs, as rows of one table. */
import type { BrokerName } from './brokers.ts'
import type { Measured } from './generator.ts'
import type { Figure, Goal, Workload } from './workloads.ts'

/** `repeated`: Tidegate in the workload that this one repeats, in the same runs. */
export type Medians = Readonly<Partial<Record<BrokerName | 'repeated', Measured>>>

const figureText: Readonly<Record<Figure, string>> = {
  messagesPerSecond: 'messages/s',
  cpuUsPerMessage: 'CPU us/message',
  p50Us: 'p50 us',
  p99Us: 'p99 us',
  connectsPerSecond: 'connects/s',
  kbPerConnection: 'KB/connection',
  bytesPerSubscription: 'B/subscription',
}

export const heading = row(['workload', 'figure', 'tidegate', 'mosquitto', 'ratio', 'goal'])

/** @example medianOf([{ p50Us: 3 }, { p50Us: 1 }, { p50Us: 2 }]) // { p50Us: 2 } */
export function medianOf(runs: readonly Measured[]): Measured {
  const figures = Object.keys(runs[0] ?? {}) as (keyof Measured)[]
  return Object.fromEntries(figures.map((figure) => [figure, median(runs.map((run) => run[figure] ?? 0))]))
}

export function rowsOf(workload: Workload, medians: Medians): string[] {
  const { tidegate, mosquitto, aedes, repeated } = medians
  const rows = (Object.entries(workload.figures) as [Figure, Goal][]).map(([figure, goal]) => {
    const [ours, theirs] = [tidegate?.[figure], mosquitto?.[figure]]
    const ratio = quotient(ours, theirs)
    const judged = { ratio, figure: ours, repeated: quotient(ours, repeated?.[figure]) }[goal.of]
    return row([
      workload.name,
      figureText[figure],
      number(ours),
      number(theirs),
      ratio === undefined ? '-' : `${ratio.toFixed(2)}x`,
      [verdict(goal, judged, workload.repeats), ...beside('aedes', ours, aedes?.[figure])].join('  '),
    ])
  })
  for (const [name, { missing = 0, filtersNotMade = 0 }] of Object.entries({ tidegate, mosquitto, aedes }).flatMap(
    present,
  )) {
    if (missing > 0) rows.push(remark(`${name}: ${number(missing)} messages did not arrive`))
    if (filtersNotMade > 0)
      rows.push(remark(`${name}: without ${number(filtersNotMade)} filters that it did not make in time`))
  }
  return rows
}

function remark(text: string): string {
  return `${' '.repeat(16)}${text}`
}

function present([name, measured]: [string, Measured | undefined]): [string, Measured][] {
  return measured === undefined ? [] : [[name, measured]]
}

/** Other peers have no column and no goal of their own. */
function beside(name: string, ours: number | undefined, theirs: number | undefined): string[] {
  const ratio = quotient(ours, theirs)
  return ratio === undefined ? [] : [`${name} ${number(theirs)}, ${ratio.toFixed(2)}x`]
}

function verdict({ of, min, max }: Goal, judged: number | undefined, repeats: string | undefined): string {
  if (min === undefined && max === undefined) return ''
  const goal = min === undefined ? `<= ${max}` : `>= ${min}`
  const what = { ratio: `${goal}x`, figure: goal, repeated: `${goal}x of ${repeats}` }[of]
  if (judged === undefined) return what
  const isReached = judged >= (min ?? 0) && judged <= (max ?? Number.POSITIVE_INFINITY)
  const detail = of === 'repeated' ? `: ${judged.toFixed(2)}x` : ''
  return `${what}${detail} ${isReached ? 'yes' : 'no'}`
}

function quotient(part: number | undefined, whole: number | undefined): number | undefined {
  return part === undefined || whole === undefined || whole === 0 ? undefined : part / whole
}

function number(value: number | undefined): string {
  if (value === undefined) return '-'
  return value.toLocaleString('en', { maximumFractionDigits: value < 100 ? 2 : 0 })
}

function row(cells: readonly string[]): string {
  const [workload = '', figure = '', ours = '', theirs = '', ratio = '', goal = ''] = cells
  const figures = [ours, theirs].map((cell) => cell.padStart(11)).join('')
  return `${workload.padEnd(16)}${figure.padEnd(15)}${figures}${ratio.padStart(9)}  ${goal}`
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right)
  const half = sorted.length / 2
  return ((sorted[Math.ceil(half) - 1] ?? 0) + (sorted[Math.floor(half)] ?? 0)) / 2
}
