/**
 * One run of a scenario: plugs the devices in, does what the scenario says when it says it, by a clock that may be a
 * virtual one, waits until everything that was acknowledged has arrived, and draws the verdict.
 *
 *   built ──open()──> running ──duration──> draining ──all arrived, or too late──> over
 */
import { type DeviceClock, pause, SystemClock } from '../clock.ts'
import type { Account } from '../oracle/account.ts'
import type { Delays } from '../oracle/delays.ts'
import type { Fault, Phase, Scenario } from '../scenario/schema.ts'
import { SeededRandom } from '../seeded-random.ts'
import { GroupFleet, type MakeStation, type Member } from './group-fleet.ts'
import { describeFault, inflict, type Relief, type StationFault } from './inflict.ts'

export interface RunOwner {
  /** Something happened that people want to read. */
  onEvent(text: string): void
  /** The broker dies; resolves once it is dead. Undefined = it is not ours. */
  killBroker: (() => Promise<void>) | undefined
  /** Resolves once it answers again. */
  startBroker(): Promise<void>
  /** Of the devices, and of the scenario. */
  readonly clock?: DeviceClock
}

/** The subscriber behind the broker, which enters what it gets into the accounts of the run. */
export interface RunCollector {
  readonly delays: Delays
  readonly arrivedCount: number
  /** What the broker dropped on purpose, by its own account: messages by reason. */
  readonly dropped: ReadonlyMap<string, number>
  leave(): Promise<void>
  comeBack(): void
  close(): Promise<void>
}

/** What comes a second time comes a little later. */
const graceMs = 500
const lookEveryMs = 100

export class ScenarioRun {
  readonly scenario: Scenario
  readonly fleets: readonly GroupFleet[]
  at: 'built' | 'running' | 'draining' | 'over' = 'built'
  /** How long it took after the last reading until the last one arrived; undefined while or when it did not. */
  drainedMs: number | undefined
  readonly #owner: RunOwner
  readonly #clock: DeviceClock
  readonly #random: SeededRandom
  #collector: RunCollector | undefined
  #startedAtMs: number | undefined
  #isStopped = false
  readonly #reliefs = new Set<() => Promise<void>>()

  constructor(scenario: Scenario, make: MakeStation, owner: RunOwner) {
    this.scenario = scenario
    this.#owner = owner
    this.#clock = owner.clock ?? new SystemClock()
    this.#random = new SeededRandom(scenario.seed)
    this.fleets = scenario.group.map((group) => new GroupFleet(group, scenario.seed, make))
  }

  get members(): readonly Member[] {
    return this.fleets.flatMap(({ members }) => members)
  }

  get collector(): RunCollector | undefined {
    return this.#collector
  }

  /** Milliseconds since the devices started; 0 before. */
  get elapsedMs(): number {
    return this.#startedAtMs === undefined ? 0 : this.#clock.nowMs() - this.#startedAtMs
  }

  get accounts(): readonly Account[] {
    return this.members.map(({ account }) => account)
  }

  /** Plugs everything in. */
  async plugIn(): Promise<void> {
    for (const { station } of this.members) await station.plugIn()
  }

  /** @param collector is subscribed. Resolves at the end, or when it was stopped. */
  async play(collector: RunCollector): Promise<void> {
    const { duration_ms, phase, fault } = this.scenario
    this.#collector = collector
    this.at = 'running'
    this.#startedAtMs = this.#clock.nowMs()
    const events = [
      this.#startDevices(),
      ...phase.map((one) => this.#playPhase(one)),
      ...fault.map((one) => this.#playEvent(one)),
    ]
    await this.#until(duration_ms)
    for (const { station } of this.members) station.device.finish()
    this.at = 'draining'
    await Promise.all(events)
    for (const relieve of this.#reliefs) await relieve()
    await this.#drain()
    this.at = 'over'
  }

  /** Ends it early. */
  stop(): void {
    this.#isStopped = true
  }

  update(): void {
    for (const fleet of this.fleets) fleet.update()
  }

  async close(): Promise<void> {
    this.stop()
    await Promise.all(this.members.map(({ station }) => station.close()))
    await this.#collector?.close()
  }

  async #startDevices(): Promise<void> {
    const { start_within_ms } = this.scenario
    const starts = this.members.map(({ station }) => ({ atMs: this.#random.next() * start_within_ms, station }))
    starts.sort((a, b) => a.atMs - b.atMs)
    for (const { atMs, station } of starts) {
      if (atMs > this.elapsedMs) await this.#until(atMs)
      station.device.start()
    }
  }

  async #playPhase({ at_ms, group, rate_per_second }: Phase): Promise<void> {
    await this.#until(at_ms)
    if (this.#isStopped) return
    this.#owner.onEvent(`${group ?? 'all groups'}: ${rate_per_second} readings a second from now on`)
    for (const { station } of this.#chosen(group)) station.device.ratePerSecond = rate_per_second
  }

  #playEvent(fault: Fault): Promise<void> {
    switch (fault.kind) {
      case 'kill-broker':
        return this.#kill(fault)
      case 'subscriber-away':
        return this.#sendAway(fault)
      default:
        return this.#playFault(fault)
    }
  }

  async #playFault(fault: StationFault): Promise<void> {
    await this.#until(fault.at_ms)
    if (this.#isStopped) return
    this.#owner.onEvent(describeFault(fault))
    const hit = this.#chosen(fault.group).slice(0, fault.devices)
    const reliefs = await Promise.all(hit.map(({ station }) => inflict(fault, station, this.#clock)))
    const relieve = once(async () => {
      await Promise.all(reliefs.map((relief: Relief) => relief?.()))
    })
    // A fault without an end lasts until the last reading was taken.
    this.#reliefs.add(relieve)
    if (fault.for_ms === undefined) return
    await this.#until(fault.at_ms + fault.for_ms)
    await relieve()
    this.#owner.onEvent(`${fault.kind}: over`)
  }

  async #kill({ at_ms, for_ms }: { at_ms: number; for_ms: number }): Promise<void> {
    await this.#until(at_ms)
    const { killBroker } = this.#owner
    if (this.#isStopped || killBroker === undefined) return
    await killBroker()
    this.#owner.onEvent(`broker: SIGKILL, starts again in ${for_ms / 1000} s`)
    await pause(this.#clock, for_ms)
    await this.#owner.startBroker()
    this.#owner.onEvent('broker: runs again')
  }

  async #sendAway({ at_ms, for_ms }: { at_ms: number; for_ms: number }): Promise<void> {
    await this.#until(at_ms)
    if (this.#isStopped) return
    await this.#collector?.leave()
    this.#owner.onEvent(`subscriber: away for ${for_ms / 1000} s`)
    await pause(this.#clock, for_ms)
    this.#collector?.comeBack()
    this.#owner.onEvent('subscriber: back')
  }

  #chosen(group: string | undefined): readonly Member[] {
    return this.fleets
      .filter((fleet) => group === undefined || fleet.group.name === group)
      .flatMap((one) => one.members)
  }

  async #drain(): Promise<void> {
    const startedAtMs = this.#clock.nowMs()
    const drainMs = this.scenario.expect.drained_within_ms
    while (!this.#isStopped) {
      this.update()
      const isDone = this.members.every(({ station }) => station.device.isDone) && this.#isSettled()
      const waitedMs = this.#clock.nowMs() - startedAtMs
      if (isDone) this.drainedMs = waitedMs
      if (isDone || waitedMs >= drainMs) break
      await pause(this.#clock, lookEveryMs)
    }
    await pause(this.#clock, graceMs)
    this.update()
  }

  /** Everything acknowledged has arrived, or stands in the ledger of the broker. */
  #isSettled(): boolean {
    const { accounts } = this
    if (accounts.every((account) => account.isSettled)) return true
    const lost = accounts.reduce(
      (sum, { missingCount, excusedCount }) => sum + Math.max(0, missingCount - excusedCount),
      0,
    )
    return lost <= droppedOf(this)
  }

  async #until(elapsedMs: number): Promise<void> {
    while (!this.#isStopped && this.elapsedMs < elapsedMs) {
      await pause(this.#clock, Math.min(lookEveryMs, Math.max(1, elapsedMs - this.elapsedMs)))
    }
  }
}

/** Messages that the broker has dropped on purpose, for whatever reason. */
export function droppedOf({ collector }: ScenarioRun): number {
  return [...(collector?.dropped.values() ?? [])].reduce((sum, count) => sum + count, 0)
}

function once(act: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined
  return () => {
    done ??= act()
    return done
  }
}
