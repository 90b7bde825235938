/** What a bridge subscribed to at its remote broker, as a small JSON file that is replaced as a whole. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { FilterMemory } from '../../ports/filter-memory.ts'
import type { Log } from '../../ports/log.ts'

export function createFilterFile(path: string, log: Log): FilterMemory {
  return {
    load() {
      try {
        const parsed: unknown = JSON.parse(readFileSync(path, 'utf8'))
        return new Map(Object.entries(parsed as Record<string, string>))
      } catch (error) {
        const isAbsent = (error as NodeJS.ErrnoException).code === 'ENOENT'
        if (!isAbsent) log.warn({ path, err: (error as Error).message }, 'former subscriptions cannot be read')
        return new Map()
      }
    },
    save(filters) {
      try {
        mkdirSync(dirname(path), { recursive: true })
        writeFileSync(`${path}.new`, `${JSON.stringify(Object.fromEntries(filters), undefined, 2)}\n`)
        renameSync(`${path}.new`, path)
      } catch (error) {
        log.warn({ path, err: (error as Error).message }, 'subscriptions cannot be written down')
      }
    },
  }
}
