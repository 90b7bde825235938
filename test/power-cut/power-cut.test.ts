/** The short form of `npm run test:power-cut`. `SEED=n` repeats a run as far as the broker's timing allows. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { temporaryFolder } from './disk.ts'
import { type CutResult, cutRun } from './run.ts'
import { builtFile, recordWorkload } from './workload.ts'

if (!existsSync(builtFile)) execFileSync('npm', ['run', 'build'], { stdio: 'ignore' })

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
t.comment(`SEED=${seed}`)
t.setTimeout(600_000)

t.test('nothing acknowledged is lost by a power cut, wherever it comes', async (t) => {
  const result = await cutAfter(t, 1500, false, 60, 1)
  t.strictSame(result.broken, [])
  t.equal(result.cutCount, 60)
})

t.test('without fsync acknowledged messages are lost, and that is noticed', async (t) => {
  const result = await cutAfter(t, 300, true, 12, 0)
  t.not(result.broken.length, 0)
})

async function cutAfter(
  t: Test,
  messageCount: number,
  isSyncOff: boolean,
  cutCount: number,
  brokerCount: number,
): Promise<CutResult> {
  const place = temporaryFolder()
  t.teardown(() => rmSync(place, { recursive: true }))
  const recording = await recordWorkload({ folder: place, messageCount, isSyncOff, random: new SeededRandom(seed) })
  const folder = join(place, 'files')
  mkdirSync(folder)
  return cutRun({ recording, cutCount, brokerCount, seed, folder }, () => undefined)
}
