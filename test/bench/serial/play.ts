/**
 * `npm run sim:virtual -- SCENARIO`: a scenario in virtual time, as `npm run sim -- run` plays it on ttys in real time.
 * Ends 0 when everything that it expects held, 1 when not, 2 when it was called wrongly.
 */
import { parseArgs } from 'node:util'
import { BufferedFile } from '../../../firmware-sim/command/buffered-file.ts'
import { LiveTable } from '../../../firmware-sim/command/live-table.ts'
import { conclude } from '../../../firmware-sim/command/run-command.ts'
import { captureLines } from '../../../firmware-sim/fleet/capture.ts'
import { loadScenario, ScenarioFault } from '../../../firmware-sim/scenario/load.ts'
import { VirtualScenario } from './virtual-scenario.ts'

const usage = `Usage: npm run sim:virtual -- SCENARIO [--seed N] [--capture FILE]

Plays a scenario in virtual time, with lines, gateway and broker in one process: the same seed, the same bytes.

  --seed N          instead of the seed in the scenario
  --capture FILE    what passed on the lines, for tidegate serial inspect FILE`

const { values, positionals } = parseArgs({
  options: { seed: { type: 'string' }, capture: { type: 'string' }, help: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const [path] = positionals
if (path === undefined || values.help) {
  console.log(usage)
  process.exitCode = values.help ? 0 : 2
} else {
  try {
    process.exitCode = await play(path)
  } catch (error) {
    if (!(error instanceof ScenarioFault)) throw error
    console.error(error.message)
    process.exitCode = 2
  }
}

async function play(path: string): Promise<number> {
  const scenario = loadScenario(path)
  if (values.seed !== undefined) scenario.seed = Number(values.seed)
  const virtual = await VirtualScenario.build(scenario, (text) => screen.event(text))
  const { run } = virtual
  const screen = new LiveTable(run, process.stdout)
  const capture = values.capture === undefined ? undefined : new BufferedFile(values.capture)
  if (capture !== undefined) captureLines(run, (text) => capture.write(text))
  screen.line(`${scenario.name}, seed ${scenario.seed}, virtual time`)
  const show = setInterval(() => screen.show(), 1000)
  const startedAtMs = performance.now()
  await virtual.play()
  clearInterval(show)
  screen.end()
  capture?.close()
  const isFine = conclude(run, screen)
  screen.line(`${(run.elapsedMs / 1000).toFixed(1)} s in ${((performance.now() - startedAtMs) / 1000).toFixed(1)} s`)
  return isFine ? 0 : 1
}
