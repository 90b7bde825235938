/**
 * `npm run test:power-cut -- --cuts N --messages N --seed S`: the long form of power-cut.test.ts. Exits with 1 when a
 * promise broke, or when none breaks although fsync does nothing.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { temporaryFolder } from './disk.ts'
import { cutRun } from './run.ts'
import { recordWorkload } from './workload.ts'

const { values } = parseArgs({
  options: {
    cuts: { type: 'string', default: '2400' },
    messages: { type: 'string', default: '6000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const [cutCount, messageCount, seed] = [Number(values.cuts), Number(values.messages), Number(values.seed)]
const folder = temporaryFolder()
console.log(`${cutCount} cuts, ${messageCount} messages, seed ${seed}`)
process.exitCode = 0
for (const isSyncOff of [false, true]) {
  const place = join(folder, isSyncOff ? 'without-fsync' : 'with-fsync')
  mkdirSync(place, { recursive: true })
  const recording = await recordWorkload({
    folder: place,
    messageCount: isSyncOff ? Math.min(1000, messageCount) : messageCount,
    isSyncOff,
    random: new SeededRandom(seed),
  })
  const kinds = recording.events.map(({ kind }) => kind)
  const count = (kind: string): number => kinds.filter((each) => each === kind).length
  console.log(`recorded ${kinds.length} events: ${count('written')} writes, ${count('synced')} fsyncs`)
  const result = await cutRun(
    {
      recording,
      cutCount: isSyncOff ? Math.min(100, cutCount) : cutCount,
      brokerCount: isSyncOff ? 0 : 20,
      seed,
      folder: join(place, 'files'),
    },
    (done) => {
      if (done % 200 === 0) console.log(`${done} cuts`)
    },
  )
  console.table(result.countByCut)
  if (isSyncOff) {
    console.log(`fsync off: ${result.broken.length} promises broken in ${result.cutCount} cuts, as it must be`)
    if (result.broken.length === 0) process.exitCode = 1
  } else {
    console.log(
      `${result.cutCount} cuts, ${result.brokerCount} of them with the whole broker: ${result.broken.length} broken`,
    )
    for (const line of result.broken.slice(0, 20)) console.log(`BROKEN: ${line}`)
    if (result.broken.length > 0) process.exitCode = 1
  }
}
rmSync(folder, { recursive: true })
