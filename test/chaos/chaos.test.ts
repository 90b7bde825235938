/** The short form of `npm run test:bridge`. `SEED=n` repeats the faults of a run. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import t from 'tap'
import { drawPlan } from './plan.ts'
import { chaosRun, violations } from './run.ts'

if (!existsSync('dist/src/cli/main.js')) execFileSync('npm', ['run', 'build'], { stdio: 'ignore' })

t.setTimeout(600_000)

t.test('the same seed draws the same faults, and another seed others', async (t) => {
  t.same(drawPlan(7, 600_000, 3), drawPlan(7, 600_000, 3))
  t.not(JSON.stringify(drawPlan(7, 600_000, 3)), JSON.stringify(drawPlan(8, 600_000, 3)))
})

t.test(
  'processes are killed and links faulted, and every acknowledged message arrives once and in order',
  async (t) => {
    const { SEED } = process.env
    const seed = Number(SEED ?? Date.now() % 1_000_000)
    t.comment(`SEED=${seed}`)
    const settings = { seed, seconds: 60, gatewayCount: 3, deviceCount: 20, folder: t.testdir({}) }
    const result = await chaosRun({ ...settings, tell: (line) => t.comment(line) })
    t.ok(result.killCount + result.linkFaultCount >= 3)
    t.strictSame(violations(result), [])
  },
)
