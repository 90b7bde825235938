/** The command as `npm ci` builds it: other loaders, other paths, and settings loaded in a thread. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runCommand } from '../fixtures/tidegate-command.ts'

const builtFile = 'dist/src/cli/main.js'

if (!existsSync(builtFile)) execFileSync('npm', ['run', 'build'], { stdio: 'ignore' })

t.test('the built command knows its version', async (t) => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
  t.match(await runCommand(['--version'], { file: builtFile }), { code: 0, stdout: `${version}\n` })
})

t.test('the built command says the same of settings as the source', async (t) => {
  const file = join(t.testdir({ 'x.toml': 'mqtt.inflight_max = "many"\nlisener = []' }), 'x.toml')
  const env = { TIDEGATE_NAME: 'a b' }
  for (const args of [
    ['edge', '--check'],
    ['cloud', '--check', '--config', file],
  ]) {
    const [built, source] = await Promise.all([runCommand(args, { env, file: builtFile }), runCommand(args, { env })])
    t.match(built, { code: 2, stderr: /TIDEGATE_NAME/ })
    t.strictSame(built, source)
  }
  t.match(await runCommand(['edge', '--check'], { file: builtFile }), { code: 0, stderr: '' })
})
