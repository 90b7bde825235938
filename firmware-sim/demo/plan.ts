/** What goes wrong in a run of the demo, and when: drawn from its seed, in milliseconds after the devices start. */
import { SeededRandom } from '../seeded-random.ts'

export interface Plan {
  readonly blackHoleAtMs: number
  readonly restoreAtMs: number
  readonly killAtMs: number
  /** The edge process is started again so long after its end. */
  readonly downMs: number
  /** Which of the serial devices is unplugged. */
  readonly unplugIndex: number
  readonly unplugAtMs: number
  readonly replugAtMs: number
}

export const blackHoleMs = 8000

/** Everything is over well before `productionMs`, so that the end of the run shows the recovery too. */
export function drawPlan(seed: number, serialCount: number): Plan {
  const random = new SeededRandom(seed)
  const between = (from: number, to: number) => from + random.below(to - from)
  const blackHoleAtMs = between(3000, 10_000)
  const unplugAtMs = between(4000, 18_000)
  return {
    blackHoleAtMs,
    restoreAtMs: blackHoleAtMs + blackHoleMs,
    killAtMs: between(6000, 22_000),
    downMs: between(200, 2000),
    unplugIndex: random.below(serialCount),
    unplugAtMs,
    replugAtMs: unplugAtMs + between(1500, 4000),
  }
}
