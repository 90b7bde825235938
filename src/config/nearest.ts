/** The known word that somebody probably meant. */

/**
 * The nearest of `candidates` by number of typing slips; undefined when none is near enough to be a slip.
 * @example nearest('inflght_max', ['inflight_max', 'queue_count_max']) // 'inflight_max'
 */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const slipsMax = Math.max(1, Math.floor(word.length / 3))
  let best: string | undefined
  let bestSlips = slipsMax + 1
  for (const candidate of candidates) {
    const slips = slipCount(word, candidate)
    if (slips < bestSlips) {
      best = candidate
      bestSlips = slips
    }
  }
  return best
}

/** Letters inserted, left out, replaced or swapped with their neighbour (optimal string alignment). */
export function slipCount(a: string, b: string): number {
  let beforePrevious: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const replaced = (previous[column - 1] as number) + (a[row - 1] === b[column - 1] ? 0 : 1)
      let slips = Math.min(replaced, (previous[column] as number) + 1, (current[column - 1] as number) + 1)
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        slips = Math.min(slips, (beforePrevious[column - 2] as number) + 1)
      }
      current.push(slips)
    }
    beforePrevious = previous
    previous = current
  }
  return previous[b.length] as number
}
