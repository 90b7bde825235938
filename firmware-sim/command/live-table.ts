/**
 * What a run shows while it goes: a table that is rewritten in place in a terminal, a line now and then elsewhere,
 * and events in between, in the order in which they happened.
 */

import type { GroupFleet } from '../fleet/group-fleet.ts'
import { sumOf } from '../fleet/judge.ts'
import type { ScenarioRun } from '../fleet/scenario-run.ts'
import type { Verdict } from '../oracle/account.ts'
import { type Column, tableOf } from './table.ts'

const plainEveryMs = 5000

interface Row {
  readonly fleet: GroupFleet
  readonly sum: Verdict
  readonly connected: number
  readonly waiting: number
}

const columns: readonly Column<Row>[] = [
  ['group', ({ fleet }) => fleet.group.name],
  ['speaks', ({ fleet }) => fleet.group.head],
  ['connected', ({ fleet, connected }) => `${connected}/${fleet.group.count}`],
  ['produced', ({ sum }) => String(sum.produced)],
  ['acknowledged', ({ sum }) => String(sum.acknowledged)],
  ['arrived', ({ sum }) => String(sum.arrived)],
  ['waiting', ({ waiting }) => String(waiting)],
  ['sent again', ({ sum }) => String(sum.sentAgain)],
  ['resets', ({ fleet }) => String(fleet.deviceFaults.resets)],
  ['damaged', ({ fleet }) => String(fleet.deviceFaults.damagedFrames)],
]

export class LiveTable {
  readonly #run: ScenarioRun
  readonly #out: NodeJS.WriteStream
  readonly #isTerminal: boolean
  /** Lines of the table that stand on the screen. */
  #lineCount = 0
  #lastPlainMs = Number.NEGATIVE_INFINITY
  #lastArrived = 0
  #lastAtMs = 0
  #arrivedPerSecond = 0

  constructor(run: ScenarioRun, out: NodeJS.WriteStream) {
    this.#run = run
    this.#out = out
    this.#isTerminal = out.isTTY === true
  }

  event(text: string): void {
    this.#clear()
    this.#out.write(`${this.#time()}  ${text}\n`)
    this.show()
  }

  line(text: string): void {
    this.#clear()
    this.#out.write(`${text}\n`)
  }

  /** Called about once a second. */
  show(): void {
    const { at, elapsedMs } = this.#run
    if (at === 'built' || at === 'over') return
    this.#run.update()
    this.#measure(elapsedMs)
    if (this.#isTerminal) this.#rewrite()
    else if (elapsedMs - this.#lastPlainMs >= plainEveryMs) this.#writePlain(elapsedMs)
  }

  /** Takes the table off the screen. */
  end(): void {
    this.#clear()
  }

  #rewrite(): void {
    const width = this.#out.columns || 80
    const lines = ['', ...tableOf(columns, this.#rows()), this.#summary()].map((line) => line.slice(0, width - 1))
    this.#clear()
    this.#out.write(`${lines.join('\n')}\n`)
    this.#lineCount = lines.length
  }

  #writePlain(elapsedMs: number): void {
    this.#lastPlainMs = elapsedMs
    const rows = this.#rows()
    const sum = (number: (row: Row) => number) => rows.reduce((total, row) => total + number(row), 0)
    const devices = sum(({ fleet }) => fleet.group.count)
    this.#out.write(
      `${this.#time()}  connected ${sum(({ connected }) => connected)}/${devices}, produced ${sum((row) => row.sum.produced)}, ` +
        `acknowledged ${sum((row) => row.sum.acknowledged)}, arrived ${sum((row) => row.sum.arrived)}; ${this.#summary()}\n`,
    )
  }

  #rows(): Row[] {
    return this.#run.fleets.map((fleet) => ({
      fleet,
      sum: sumOf(
        fleet.group.name,
        fleet.members.map(({ account }) => account.verdict()),
      ),
      connected: fleet.members.filter(({ station }) => station.device.isConnected).length,
      waiting: fleet.members.reduce((total, { station }) => total + station.device.waitingCount, 0),
    }))
  }

  #summary(): string {
    const { at, elapsedMs, scenario, collector } = this.#run
    const delays = collector?.delays
    const time = at === 'draining' ? 'draining' : `${seconds(elapsedMs)} of ${seconds(scenario.duration_ms)}`
    const delay = (share: number) => `${(delays?.percentileMs(share) ?? 0).toFixed(0)} ms`
    return `${time}, ${Math.round(this.#arrivedPerSecond)} messages/s, delay p50 ${delay(0.5)}, p99 ${delay(0.99)}`
  }

  #measure(elapsedMs: number): void {
    const arrived = this.#run.collector?.arrivedCount ?? 0
    const passedMs = elapsedMs - this.#lastAtMs
    if (passedMs < 500) return
    this.#arrivedPerSecond = ((arrived - this.#lastArrived) * 1000) / passedMs
    this.#lastArrived = arrived
    this.#lastAtMs = elapsedMs
  }

  #time(): string {
    return seconds(this.#run.elapsedMs).padStart(7)
  }

  #clear(): void {
    if (this.#lineCount > 0) this.#out.write(`\x1b[${this.#lineCount}A\r\x1b[J`)
    this.#lineCount = 0
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
