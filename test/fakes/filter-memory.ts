/** The FilterMemory port without a file: it outlives whoever uses it. */
import type { FilterMemory } from '../../src/ports/filter-memory.ts'

export class TestFilterMemory implements FilterMemory {
  filters: ReadonlyMap<string, string> = new Map()

  load(): ReadonlyMap<string, string> {
    return this.filters
  }

  save(filters: ReadonlyMap<string, string>): void {
    this.filters = new Map(filters)
  }
}
