/** `npm run test:crash -- --kills N --messages N --seed S`: the long form of crash.test.ts. Exits with 1 when a promise broke. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { crashRun, violations } from './run.ts'

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '300' },
    messages: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const [killCount, messageCount, seed] = [Number(values.kills), Number(values.messages), Number(values.seed)]
const folder = mkdtempSync(join(tmpdir(), 'tidegate-crash-'))
console.log(`${killCount} kills, ${messageCount} messages, seed ${seed}`)
const result = await crashRun({ killCount, messageCount, seed, folder }, (kill) => {
  if (kill % 10 === 0) console.log(`${kill} kills`)
})
console.table(
  result.rows.map(({ subscriber, publishedQos, acknowledged, lost, doubled, isExactlyOnce, outOfOrder }) => ({
    subscriber,
    'published QoS': publishedQos,
    acknowledged,
    lost,
    doubled,
    'doubles allowed': isExactlyOnce ? 'no' : 'yes',
    'out of order': outOfOrder,
  })),
)
console.log(
  `${result.acknowledgedCount} acknowledged in ${result.killedSeconds.toFixed(1)} s with ${result.killCount} kills`,
)
console.log(`those who were away caught up in ${result.drainedSeconds.toFixed(1)} s`)
const broken = violations(result)
for (const violation of broken) console.log(`BROKEN: ${violation}`)
if (broken.length === 0) rmSync(folder, { recursive: true })
else console.log(`what the broker kept is in ${folder}`)
process.exitCode = broken.length === 0 ? 0 : 1
