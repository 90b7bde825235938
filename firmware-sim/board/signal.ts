/**
 * What a sensor measures: a value for each moment, the same for the same seed. A signal is asked in the order of time.
 */
import type { SeededRandom } from '../seeded-random.ts'

export interface Signal {
  /** @param sinceMs time since the device was made */
  valueAt(sinceMs: number): number
}

export interface Wave {
  readonly mean: number
  readonly amplitude: number
  readonly periodMs: number
}

/** Swings around `mean`: a day's temperature. */
export class Sine implements Signal {
  readonly #wave: Wave

  constructor(wave: Wave) {
    this.#wave = wave
  }

  valueAt(sinceMs: number): number {
    const { mean, amplitude, periodMs } = this.#wave
    return mean + amplitude * Math.sin((2 * Math.PI * sinceMs) / periodMs)
  }
}

/** Wanders by at most `stepMax` from one reading to the next, within bounds: a pressure. */
export class RandomWalk implements Signal {
  readonly #bounds: { readonly lowest: number; readonly highest: number; readonly stepMax: number }
  readonly #random: SeededRandom
  #value: number

  constructor(bounds: { lowest: number; highest: number; stepMax: number }, random: SeededRandom) {
    this.#bounds = bounds
    this.#random = random
    this.#value = (bounds.lowest + bounds.highest) / 2
  }

  valueAt(): number {
    const { lowest, highest, stepMax } = this.#bounds
    const moved = this.#value + (this.#random.next() * 2 - 1) * stepMax
    this.#value = Math.min(highest, Math.max(lowest, moved))
    return this.#value
  }
}

/** Stays on each level for `everyMs`, one after the other and from the start again: a door, a relay. */
export class Step implements Signal {
  readonly #levels: readonly number[]
  readonly #everyMs: number

  /** @param levels at least one */
  constructor(levels: readonly number[], everyMs: number) {
    this.#levels = levels
    this.#everyMs = everyMs
  }

  valueAt(sinceMs: number): number {
    return this.#levels[Math.floor(sinceMs / this.#everyMs) % this.#levels.length] ?? 0
  }
}

/** Plays a recording again, line by line: each value holds until the time of the next one, the last one for ever. */
export class Replay implements Signal {
  readonly #rows: readonly (readonly [atMs: number, value: number])[]
  #next = 0
  #value: number

  /** @param rows by rising time, at least one */
  constructor(rows: readonly (readonly [atMs: number, value: number])[]) {
    this.#rows = rows
    this.#value = rows[0]?.[1] ?? 0
  }

  valueAt(sinceMs: number): number {
    for (;;) {
      const row = this.#rows[this.#next]
      if (row === undefined || row[0] > sinceMs) return this.#value
      this.#value = row[1]
      this.#next++
    }
  }
}

/**
 * The rows of a recording: `milliseconds,value` on each line, a title line allowed.
 * @throws RangeError naming the line that is neither, or goes back in time
 */
export function readRecording(csv: string): [atMs: number, value: number][] {
  const rows: [number, number][] = []
  for (const [index, line] of csv.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue
    const [at = Number.NaN, value = Number.NaN] = line.split(',').map((cell) => Number.parseFloat(cell))
    if (Number.isNaN(at) && index === 0) continue
    if (Number.isNaN(at) || Number.isNaN(value)) throw new RangeError(`line ${index + 1}: expected "ms,value"`)
    if (at < (rows.at(-1)?.[0] ?? 0)) throw new RangeError(`line ${index + 1}: goes back in time`)
    rows.push([at, value])
  }
  if (rows.length === 0) throw new RangeError('no rows')
  return rows
}
