/** A backlog straight into the store of a gateway that is not running: millions of messages in a minute or two. */
import { join } from 'node:path'
import { openSqliteStore, readTimeline } from '../../../src/adapters/store-sqlite/open.ts'
import { createSystemClock } from '../../../src/adapters/system/clock.ts'
import { systemRandom } from '../../../src/adapters/system/random.ts'
import { Publish } from '../../../src/protocol/packets/publish.ts'
import { RecordingLog } from '../../fakes/recording-log.ts'
import { storeLoader, storeOwner } from '../../fakes/store-ends.ts'

const topicCount = 10
const payloadBytes = 64
const perStep = 2000

/** What the load `publish` sends (store-load.c), numbered from 0. */
function numbered(number: number): Publish {
  const payload = Buffer.alloc(payloadBytes, 'x')
  payload.writeUInt32LE(number)
  return Publish.create({ topic: `s/${number % topicCount}`, payload, qos: 1 })
}

/** @returns messages written in a second */
export async function prepare(dataDir: string, count: number): Promise<number> {
  const path = join(dataDir, 'tidegate.db')
  const clock = createSystemClock(await readTimeline(path))
  const log = new RecordingLog()
  const store = await openSqliteStore({ path, durability: 'os', commitIntervalMs: 0, clock, random: systemRandom, log })
  let goOn = (): void => undefined
  store.bind(storeOwner({ onDurable: () => goOn(), onFailure: (failure) => log.error({ err: failure }, 'store') }))
  const readers: string[] = []
  await store.load(storeLoader({ onSession: ({ clientId }) => readers.push(clientId) }))
  const startMs = performance.now()
  for (let number = 0; number < count; ) {
    const durable = new Promise<void>((resolve) => {
      goOn = resolve
    })
    for (let i = 0; i < perStep && number < count; i++) store.log.append(numbered(number++))
    // Nobody was behind but the bridge, which finds what came meanwhile.
    for (const clientId of readers)
      if (!clientId.startsWith('$bridge/')) store.sessions.saveCursor(clientId, store.log.lastSeq)
    await durable
  }
  const seconds = (performance.now() - startMs) / 1000
  await store.close()
  return count / seconds
}
