/**
 * `npm run demo`: readings travel from serial lines and TCP clients through an edge broker and a bridge to a cloud
 * broker, and to a subscriber there, while the uplink is swallowed by a black hole, the edge process is killed, and a
 * serial device is unplugged. Exits 0 only when nothing that was acknowledged is missing, doubled or out of order.
 *
 *   sensors --pty, TCP--> tidegate edge --TLS--> proxy with faults --TLS--> tidegate cloud --> subscriber
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Screen } from './screen.ts'
import { World } from './world.ts'

const usage = `Usage: npm run demo -- [options]

  --seed N   repeat the run in which everything goes wrong at the same moments (default: drawn at random)
  --keep     leave everything running at the end
  --help     show this
`

const { values: options } = parseArgs({
  options: {
    seed: { type: 'string' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (options.help) {
  process.stdout.write(usage)
} else {
  const seed = options.seed === undefined ? Math.floor(Math.random() * 1_000_000) : Number(options.seed)
  process.exitCode = Number.isSafeInteger(seed) && seed >= 0 ? await demo(seed) : refuseSeed()
}

function refuseSeed(): number {
  process.stderr.write(`--seed ${options.seed}: expected a whole number\n`)
  return 2
}

async function demo(seed: number): Promise<number> {
  const screen = new Screen()
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-demo-'))
  const world = new World(folder, seed, screen)
  process.once('SIGINT', () => {
    void world.close().then(() => process.exit(130))
  })
  let isFine = false
  try {
    screen.event(`seed ${seed}, files in ${folder}`)
    await world.build()
    await world.run()
    isFine = await world.judge()
    if (options.keep) {
      world.explain()
      await world.waitForInterrupt()
    }
  } catch (error) {
    if (!(error instanceof Error)) throw error
    screen.event(`failed: ${error.message}`)
  }
  await world.close()
  if (isFine) rmSync(folder, { recursive: true, force: true })
  else screen.line(`Logs are in ${folder}; repeat with: npm run demo -- --seed ${seed}`)
  return isFine ? 0 : 1
}
