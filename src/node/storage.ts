/** The store and the clock of a node: they belong together, because the store remembers where the clock stood. */
import { join } from 'node:path'
import { createSystemClock } from '../adapters/system/clock.ts'
import { systemRandom } from '../adapters/system/random.ts'
import { type Settings, safestDurability } from '../config/settings.ts'
import type { SystemClock } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
import type { Store } from '../ports/store.ts'

export interface Storage {
  readonly clock: SystemClock
  readonly store: Store
}

/** Rejects with a Failure that names what is wrong with the data directory. */
export async function openStorage(settings: Settings, log: Log): Promise<Storage> {
  const { dataDir, store } = settings
  const durability = safestDurability(settings)
  if (durability === 'ram') {
    const { MemoryStore } = await import('../adapters/store-memory/store.ts')
    const clock = createSystemClock(undefined)
    return { clock, store: new MemoryStore({ clock, random: systemRandom }) }
  }
  const { openSqliteStore, readTimeline } = await import('../adapters/store-sqlite/open.ts')
  const path = join(dataDir, 'tidegate.db')
  const clock = createSystemClock(await readTimeline(path))
  const { commitIntervalMs, freeBytesMin, freePercentMin, flashBudgetMbPerDay, commitWaitMsMax } = store
  const flashBudget =
    flashBudgetMbPerDay === 0 ? undefined : { bytesPerDay: flashBudgetMbPerDay * 1e6, waitMsMax: commitWaitMsMax }
  const storeLog = log.child({ part: 'store' })
  const options = {
    path,
    durability,
    commitIntervalMs,
    flashBudget,
    freeBytesMin,
    freePercentMin,
    clock,
    random: systemRandom,
    log: storeLog,
  }
  return { clock, store: await openSqliteStore(options) }
}
