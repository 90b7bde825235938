/** A scenario with a real edge process, ptys and a subscriber, and what it cost. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OwnEdge, serialBlocks } from '../../../firmware-sim/command/own-edge.ts'
import { sumOf } from '../../../firmware-sim/fleet/judge.ts'
import { stationMaker } from '../../../firmware-sim/fleet/make-station.ts'
import { ScenarioRun } from '../../../firmware-sim/fleet/scenario-run.ts'
import { freePort } from '../../../firmware-sim/free-port.ts'
import type { Verdict } from '../../../firmware-sim/oracle/account.ts'
import { Collector } from '../../../firmware-sim/oracle/collector.ts'
import { parseScenario } from '../../../firmware-sim/scenario/load.ts'

const ticksPerSecond = 100

export interface RealFigures {
  readonly verdict: Verdict
  /** From the start of the devices until everything had arrived. */
  readonly seconds: number
  readonly isDrained: boolean
  readonly p50Ms: number
  readonly p99Ms: number
  /** Of the edge process: share of one core while devices produced, and memory at the end. */
  readonly edgeCpuShare: number
  readonly edgeMegabytes: number
}

/** @param toml a scenario (firmware-sim/README.md) */
export async function runForReal(toml: string): Promise<RealFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-bench-'))
  const port = await freePort()
  const url = `mqtt://127.0.0.1:${port}`
  const owner = { onEvent: () => undefined, killBroker: undefined, startBroker: async () => undefined }
  const run = new ScenarioRun(parseScenario(toml, 'bench'), stationMaker(folder, url), owner)
  let edge: OwnEdge | undefined
  try {
    await run.plugIn()
    edge = new OwnEdge(folder, port, serialBlocks(run))
    await edge.start()
    const cpuBefore = cpuSeconds(edge.pid)
    const startedAtMs = performance.now()
    await run.play(await Collector.subscribe(url, run))
    const passedSeconds = (performance.now() - startedAtMs) / 1000
    const verdicts = run.accounts.map((account) => account.verdict())
    return {
      verdict: sumOf('all', verdicts),
      seconds: (run.scenario.duration_ms + (run.drainedMs ?? 0)) / 1000,
      isDrained: run.drainedMs !== undefined,
      p50Ms: run.collector?.delays.percentileMs(0.5) ?? 0,
      p99Ms: run.collector?.delays.percentileMs(0.99) ?? 0,
      edgeCpuShare: (cpuSeconds(edge.pid) - cpuBefore) / passedSeconds,
      edgeMegabytes: edge.residentMegabytes(),
    }
  } finally {
    await run.close()
    await edge?.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}
