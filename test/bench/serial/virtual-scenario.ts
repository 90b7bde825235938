/**
 * A scenario in virtual time: devices, lines, gateway and broker in this process, without a tty or a socket. A seed
 * decides everything in it, so the same scenario with the same seed passes the same bytes at the same times.
 */
import type { LinePort, OnLineBytes } from '../../../firmware-sim/fleet/line-port.ts'
import { wiredStationMaker } from '../../../firmware-sim/fleet/make-station.ts'
import { ScenarioRun } from '../../../firmware-sim/fleet/scenario-run.ts'
import { ScenarioFault } from '../../../firmware-sim/scenario/load.ts'
import type { Group, Scenario } from '../../../firmware-sim/scenario/schema.ts'
import { SeededRandom } from '../../../firmware-sim/seeded-random.ts'
import { lineDefaults } from '../../../src/gateway/make-head.ts'
import type { SerialPortSettings } from '../../../src/gateway/serial-listener.ts'
import { MemorySerial } from '../../fakes/memory-serial.ts'
import { VirtualClock } from '../../fakes/virtual-clock.ts'
import { MemoryGateway } from './memory-gateway.ts'

const stepMs = 1
const tickEveryMs = 100
/** Longer than any scenario waits for what is missing. */
const closeMs = 1000

export class VirtualScenario {
  readonly run: ScenarioRun
  readonly #clock: VirtualClock
  readonly #gateway: MemoryGateway

  private constructor(run: ScenarioRun, clock: VirtualClock, gateway: MemoryGateway) {
    this.run = run
    this.#clock = clock
    this.#gateway = gateway
  }

  /** @throws ScenarioFault when something in it is not of this process */
  static async build(scenario: Scenario, onEvent: (text: string) => void): Promise<VirtualScenario> {
    checkVirtual(scenario)
    const clock = new VirtualClock(1000)
    const gateway = await MemoryGateway.start(clock)
    const random = new SeededRandom(scenario.seed)
    const make = wiredStationMaker(clock, (name, group, onBytes) => {
      const settings = portSettings(name, group)
      const port = new MemoryPort(clock, name, onBytes)
      gateway.listen(settings, port.driver, random.uint32())
      return port
    })
    const owner = { onEvent, killBroker: undefined, startBroker: async () => undefined, clock }
    const run = new ScenarioRun(scenario, make, owner)
    for (const account of run.accounts) gateway.subscriber.expect(account)
    return new VirtualScenario(run, clock, gateway)
  }

  /** Resolves at the end, or when it was stopped. */
  async play(): Promise<void> {
    const { run } = this
    await this.#until(run.plugIn())
    await this.#until(run.play(this.#gateway.subscriber))
    await this.#until(run.close())
    await this.#until(this.#gateway.stop(), closeMs)
  }

  /** Moves time on until `done` settles. */
  async #until(done: Promise<void>, atLeastMs = 0): Promise<void> {
    let isOver = false
    const over = done.finally(() => {
      isOver = true
    })
    for (let passedMs = 0; !isOver || passedMs < atLeastMs; passedMs += stepMs) {
      // What waits for a promise runs before the clock goes on.
      await new Promise((resolve) => setImmediate(resolve))
      this.#clock.advanceMs(stepMs)
      if (passedMs % tickEveryMs === 0) this.#gateway.tick()
    }
    await over
  }
}

class MemoryPort implements LinePort {
  readonly address: string
  readonly driver: MemorySerial

  constructor(clock: VirtualClock, name: string, onBytes: OnLineBytes) {
    this.address = name
    this.driver = new MemorySerial(clock)
    this.driver.onWritten = (bytes) => onBytes(Buffer.from(bytes))
  }

  write(chunk: Buffer): void {
    this.driver.deliver(chunk)
  }

  async plugIn(): Promise<void> {
    this.driver.plug()
  }

  async unplug(): Promise<void> {
    this.driver.unplug()
  }

  async close(): Promise<void> {
    this.driver.unplug()
  }
}

function portSettings(name: string, group: Group): SerialPortSettings {
  const { head, count, bus, baud_rate: baudRate } = group
  const line = { name, path: name, baudRate, resetOnOpen: false }
  if (bus) return { ...line, addresses: Array.from({ length: count }, (_, at) => at + 1) }
  if (head === 'raw') return { ...line, protocol: 'raw' }
  if (head === 'json-lines') return { ...line, protocol: 'lines' }
  if (head === 'link') return line
  return { ...line, protocol: 'lines', lines: { ...lineDefaults, topic: `dev/${name}/reading` } }
}

function checkVirtual(scenario: Scenario): void {
  for (const { name, head } of scenario.group) {
    if (head === 'tcp' || head === 'link-c') {
      throw new ScenarioFault(`group "${name}": head "${head}" is not for virtual time: it needs ${needs[head]}`)
    }
  }
  for (const { kind } of scenario.fault) {
    if (kind === 'kill-broker' || kind === 'subscriber-away') {
      throw new ScenarioFault(`fault "${kind}" is not for virtual time: it needs processes`)
    }
  }
}

const needs = { tcp: 'a network', 'link-c': 'a process for each device' }
