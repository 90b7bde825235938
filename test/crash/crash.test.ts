/** The short form of `npm run test:crash`. `SEED=n` repeats a run. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import t from 'tap'
import { crashRun, violations } from './run.ts'

if (!existsSync('dist/src/cli/main.js')) execFileSync('npm', ['run', 'build'], { stdio: 'ignore' })

t.test(
  'nothing acknowledged is lost, reordered, or doubled at QoS 2, however often the broker is killed',
  async (t) => {
    const { SEED } = process.env
    const seed = Number(SEED ?? Date.now() % 1_000_000)
    t.comment(`SEED=${seed}`)
    const result = await crashRun({ killCount: 20, messageCount: 20_000, seed, folder: t.testdir({}) }, () => undefined)
    t.equal(result.acknowledgedCount, 20_000)
    t.strictSame(violations(result), [])
  },
)
