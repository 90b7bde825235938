/**
 * `run`: plays a scenario against a broker, and ends 0 when everything that the scenario expected held, 1 when not,
 * 2 when it was called wrongly. `config`: prints what a gateway of yours needs to reach the devices.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { table } from '../demo/screen.ts'
import { captureLines } from '../fleet/capture.ts'
import { judge, worst } from '../fleet/judge.ts'
import { stationMaker } from '../fleet/make-station.ts'
import { ScenarioRun } from '../fleet/scenario-run.ts'
import { freePort } from '../free-port.ts'
import { Collector } from '../oracle/collector.ts'
import { loadScenario, ScenarioFault } from '../scenario/load.ts'
import type { Scenario } from '../scenario/schema.ts'
import { BufferedFile } from './buffered-file.ts'
import { LiveTable } from './live-table.ts'
import { OwnEdge, serialBlocks } from './own-edge.ts'

export const runUsage = `Usage: npm run sim -- run SCENARIO [options]
       npm run sim -- config SCENARIO [options]

Plays a scenario: simulated devices, faults at their times, and a check of every message at the end.

  --broker URL        where the messages arrive, for example mqtt://127.0.0.1:1883
                      (default: an edge broker of its own, built with npm run build)
  --folder DIR        where the ports of the devices appear, with --broker and config
                      (default: named after the scenario, in ${tmpdir()})
  --seed N            instead of the seed in the scenario
  --capture FILE      what passed on the lines, for tidegate serial inspect FILE
  --help              this text

config prints the [[serial]] blocks for your own gateway; start it with them, then run with --broker.
Scenarios: firmware-sim/scenarios. Exit code: 0 as expected, 1 not, 2 called wrongly.
`

const options = {
  broker: { type: 'string' },
  folder: { type: 'string' },
  seed: { type: 'string' },
  capture: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

interface Call {
  readonly scenario: Scenario
  readonly folder: string
  readonly broker: string | undefined
  /** The file to write. */
  readonly capture: BufferedFile | undefined
}

/** @returns the exit code */
export async function runCommand(verb: 'run' | 'config', args: readonly string[]): Promise<number> {
  const call = readCall(args)
  if (typeof call === 'string') {
    const isHelp = call === runUsage
    ;(isHelp ? process.stdout : process.stderr).write(isHelp ? call : `${call}\n\nTry: npm run sim -- run --help\n`)
    return isHelp ? 0 : 2
  }
  if (verb === 'run') return play(call)
  process.stdout.write(
    serialBlocks(new ScenarioRun(call.scenario, stationMaker(call.folder, 'mqtt://127.0.0.1'), silent)),
  )
  return 0
}

/** What was asked for, or what to say instead. */
function readCall(args: readonly string[]): Call | string {
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true })
    if (values.help) return runUsage
    const [path] = positionals
    if (path === undefined) return 'a scenario file is missing'
    const scenario = loadScenario(path)
    if (values.seed !== undefined) {
      const seed = Number(values.seed)
      if (!Number.isSafeInteger(seed) || seed < 0) return `--seed ${values.seed}: expected a whole number`
      scenario.seed = seed
    }
    const { broker, capture } = values
    if (broker !== undefined && !URL.canParse(broker)) return `--broker ${broker}: expected mqtt://HOST:PORT`
    const folder = resolve(values.folder ?? join(tmpdir(), `tidegate-sim-${scenario.name}`))
    return { scenario, folder, broker, capture: capture === undefined ? undefined : new BufferedFile(capture) }
  } catch (error) {
    // What parseArgs and the file system say is for people too.
    if (error instanceof ScenarioFault || error instanceof TypeError || isSystemError(error)) return error.message
    throw error
  }
}

async function play(call: Call): Promise<number> {
  const { scenario, broker, capture } = call
  const folder = broker === undefined ? mkdtempSync(`${call.folder}-`) : call.folder
  mkdirSync(folder, { recursive: true })
  const port = await freePort()
  const url = broker ?? `mqtt://127.0.0.1:${port}`
  let edge: OwnEdge | undefined
  const firstTcpPort = call.broker === undefined ? await freePort() : undefined
  const run: ScenarioRun = new ScenarioRun(scenario, stationMaker(folder, url, firstTcpPort), {
    onEvent: (text) => screen.event(text),
    killBroker: broker === undefined ? async () => edge?.kill() : undefined,
    startBroker: async () => edge?.start(),
  })
  const screen = new LiveTable(run, process.stdout)
  if (capture !== undefined) captureLines(run, (text) => capture.write(text))
  const show = setInterval(() => screen.show(), 1000)
  const stop = () => run.stop()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  try {
    screen.line(`${scenario.name}, seed ${scenario.seed}${scenario.about === undefined ? '' : `: ${scenario.about}`}`)
    await run.plugIn()
    if (broker === undefined) {
      edge = new OwnEdge(folder, port, `\n${scenario.edge_settings}\n${serialBlocks(run)}`)
      await edge.start()
    }
    screen.line(
      `${run.members.length} devices, messages arrive at ${url}${edge === undefined ? '' : ', an edge of its own'}`,
    )
    await run.play(await Collector.subscribe(url, run))
  } catch (error) {
    if (!(error instanceof Error)) throw error
    screen.event(`failed: ${error.message}`)
    return 1
  } finally {
    clearInterval(show)
    screen.end()
    await run.close()
    await edge?.stop()
    capture?.close()
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
  }
  const isFine = conclude(run, screen)
  if (isFine && edge !== undefined) rmSync(folder, { recursive: true, force: true })
  else if (edge !== undefined) screen.line(`The log of the edge: ${edge.logPath}`)
  return isFine ? 0 : 1
}

export function conclude(run: ScenarioRun, screen: LiveTable): boolean {
  const verdicts = run.accounts.map((account) => account.verdict())
  const shown = verdicts.length <= 20 ? verdicts : worst(run, 20)
  if (shown.length > 0) screen.line(`\n${table(shown)}\n`)
  if (shown.length < verdicts.length)
    screen.line(`${verdicts.length - shown.length} more devices without anything amiss`)
  const judgements = judge(run)
  for (const { text, isMet } of judgements) screen.line(`${isMet ? 'ok    ' : 'NOT OK'}  ${text}`)
  const { delays } = run.collector ?? {}
  if (delays !== undefined) {
    const [p50, p99] = [0.5, 0.99].map((share) => delays.percentileMs(share).toFixed(1))
    screen.line(
      `delay from reading to arrival: p50 ${p50} ms, p99 ${p99} ms, longest ${delays.longestMs.toFixed(0)} ms`,
    )
  }
  const faults = run.fleets.map((fleet) => ({ name: fleet.group.name, ...fleet.deviceFaults }))
  for (const { name, resets, damagedFrames, resentFrames, overrunBytes } of faults) {
    screen.line(
      `${name}: ${resets} resets, ${damagedFrames} damaged frames, ${resentFrames} frames sent again, ${overrunBytes} bytes overrun`,
    )
  }
  const isFine = judgements.every(({ isMet }) => isMet)
  screen.line(isFine ? 'As expected.' : `NOT OK; the same again: --seed ${run.scenario.seed}`)
  return isFine
}

function isSystemError(error: unknown): error is Error {
  return error instanceof Error && 'syscall' in error
}

const silent = { onEvent: () => undefined, killBroker: undefined, startBroker: async () => undefined }
