/** Writes down what passes on the lines of a run (src/lib/line-capture.ts says how). */
import { captureHead, captureLine } from '../../src/lib/line-capture.ts'
import type { ScenarioRun } from './scenario-run.ts'

/** @param write takes the text of the file, piece by piece */
export function captureLines(run: ScenarioRun, write: (text: string) => void): void {
  const { name, seed } = run.scenario
  write(captureHead(`${name}, seed ${seed}`))
  for (const { group, members } of run.fleets) {
    for (const [at, { id, station }] of members.entries()) {
      if (station.cable === undefined) continue
      // What the gateway says on a bus all devices hear: the first one tells of it.
      const isTold = !group.bus || at === 0
      const line = group.bus ? group.name : id
      station.cable.onPassed = (from, bytes) => {
        if (from === 'device' || isTold) write(captureLine({ atMs: run.elapsedMs, line, from, bytes }))
      }
    }
  }
}
