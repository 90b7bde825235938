/** The Random port from a seed; `below`, `uint32` and `bytes` are for the tests themselves. */
import { SeededRandom as Generator } from '../../firmware-sim/seeded-random.ts'
import type { Random } from '../../src/ports/random.ts'

export class SeededRandom extends Generator implements Random {}
