/** What a scenario expected, beside what came of it. */
import { isGood, type Verdict } from '../oracle/account.ts'
import { droppedOf, type ScenarioRun } from './scenario-run.ts'

export interface Judgement {
  readonly text: string
  readonly isMet: boolean
}

/** The sums over all devices of one group, or of the whole run. */
export function sumOf(id: string, verdicts: readonly Verdict[]): Verdict {
  const sum = (number: (verdict: Verdict) => number) => verdicts.reduce((total, verdict) => total + number(verdict), 0)
  return {
    id,
    produced: sum(({ produced }) => produced),
    acknowledged: sum(({ acknowledged }) => acknowledged),
    arrived: sum(({ arrived }) => arrived),
    lost: sum(({ lost }) => lost),
    explained: sum(({ explained }) => explained),
    corrupted: sum(({ corrupted }) => corrupted),
    doubled: sum(({ doubled }) => doubled),
    sentAgain: sum(({ sentAgain }) => sentAgain),
    outOfOrder: sum(({ outOfOrder }) => outOfOrder),
    longestDelayMs: verdicts.reduce((longest, { longestDelayMs }) => Math.max(longest, longestDelayMs), 0),
  }
}

/** One judgement for each expectation of the scenario. */
export function judge(run: ScenarioRun): Judgement[] {
  const { expect } = run.scenario
  const total = sumOf(
    'all',
    run.accounts.map((account) => account.verdict()),
  )
  const dropped = run.collector?.dropped ?? new Map<string, number>()
  const droppedCount = droppedOf(run)
  const inLedger = Math.min(total.lost, droppedCount)
  const p99Ms = run.collector?.delays.percentileMs(0.99) ?? 0
  const waiting = run.members.reduce((sum, { station }) => sum + station.device.waitingCount, 0)
  const atMost = (what: string, is: number, most: number | undefined, unit = '') =>
    most === undefined ? [] : [{ text: `${what} ${round(is)}${unit} (at most ${most}${unit})`, isMet: is <= most }]
  return [
    { text: `produced ${total.produced} (more than 0)`, isMet: total.produced > 0 },
    ...atMost('lost', total.lost - inLedger, expect.lost),
    ...(droppedCount > 0 || expect.dropped_max > 0
      ? atMost(`dropped by the broker, in its ledger${reasons(dropped)}:`, droppedCount, expect.dropped_max)
      : []),
    ...atMost('doubled', total.doubled, expect.doubled),
    ...atMost('corrupted', total.corrupted, expect.corrupted),
    ...(expect.in_order ? atMost('out of order', total.outOfOrder, 0) : []),
    ...atMost('lost with an explanation', total.explained, expect.explained_max),
    ...atMost('sent again', total.sentAgain, expect.sent_again_max),
    ...atMost('delay p99', p99Ms, expect.delay_p99_ms_max, ' ms'),
    {
      text:
        run.drainedMs === undefined
          ? `not drained within ${expect.drained_within_ms / 1000} s: ${waiting} readings wait in devices`
          : `drained in ${(run.drainedMs / 1000).toFixed(1)} s (within ${expect.drained_within_ms / 1000} s)`,
      isMet: run.drainedMs !== undefined,
    },
  ]
}

/** The devices that did worst, for people who look for the reason. */
export function worst(run: ScenarioRun, countMax: number): Verdict[] {
  const bad = run.accounts.map((account) => account.verdict()).filter((verdict) => !isGood(verdict))
  return bad.sort((a, b) => b.lost - a.lost || b.doubled - a.doubled).slice(0, countMax)
}

/** ` (queue_full 12)` */
function reasons(dropped: ReadonlyMap<string, number>): string {
  return dropped.size === 0 ? '' : ` (${[...dropped].map(([reason, count]) => `${reason} ${count}`).join(', ')})`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
