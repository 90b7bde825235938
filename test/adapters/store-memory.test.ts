import t from 'tap'
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import type { Store } from '../../src/ports/store.ts'
import { storeContract } from '../contract/store.ts'
import { KillableClock } from '../fakes/killable-clock.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'

let logCount = 0

storeContract(t, 'memory', async () => {
  const disk = new MemoryDisk()
  const random = new SeededRandom(++logCount)
  let clock = new KillableClock()
  const open = async (): Promise<Store> => {
    clock = new KillableClock()
    return new MemoryStore({ clock, random, disk })
  }
  return {
    open,
    crash: () => {
      clock.halt()
      return open()
    },
  }
})
