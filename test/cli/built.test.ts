/** The command as `npm ci` builds it: other loaders, other paths, and settings loaded in a thread. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'
import { runCommand } from '../fixtures/tidegate-command.ts'

const builtFile = 'dist/src/cli/main.js'
const sourceFile = 'src/cli/main.ts'
const launcher = resolve('src/cli/tidegate')

if (!existsSync(builtFile)) execFileSync('npm', ['run', 'build'], { stdio: 'ignore' })

t.test('the command knows its version, also by the link that npm makes', (t) => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
  const folder = t.testdir({ tidegate: t.fixture('symlink', launcher) })
  for (const file of [launcher, join(folder, 'tidegate')]) {
    t.equal(execFileSync(file, ['--version'], { encoding: 'utf8', cwd: folder }), `${version}\n`)
  }
  t.end()
})

t.test('the command gives V8 one thread, and takes its arguments as they are', (t) => {
  const folder = t.testdir({ node: '#!/bin/sh\nprintf "%s\\n" "$@"\n' })
  execFileSync('chmod', ['+x', join(folder, 'node')])
  const { PATH } = process.env
  const env = { ...process.env, PATH: `${folder}:${PATH}` }
  const [flag, file = '', ...args] = execFileSync(launcher, ['sub', '-t', 'a b/#'], { encoding: 'utf8', env }).split(
    '\n',
  )
  t.equal(flag, '--v8-pool-size=1')
  t.equal(resolve(file), resolve(builtFile))
  t.strictSame(args, ['sub', '-t', 'a b/#', ''])
  t.end()
})

t.test('before a build the command says what to do', (t) => {
  const folder = t.testdir({ src: { cli: { tidegate: readFileSync(launcher) } } })
  const { status, stderr } = spawnSync('sh', [join(folder, 'src/cli/tidegate')], { encoding: 'utf8' })
  t.equal(status, 1)
  t.equal(stderr, `tidegate: this checkout is not built: run 'npm run build' in ${folder}\n`)
  t.end()
})

t.test('the built command says the same of settings as the source', async (t) => {
  const file = join(t.testdir({ 'x.toml': 'mqtt.inflight_max = "many"\nlisener = []' }), 'x.toml')
  const env = { TIDEGATE_NAME: 'a b' }
  for (const args of [
    ['edge', '--check'],
    ['cloud', '--check', '--config', file],
  ]) {
    const [built, source] = await Promise.all([
      runCommand(args, { env, file: builtFile }),
      runCommand(args, { env, file: sourceFile }),
    ])
    t.match(built, { code: 2, stderr: /TIDEGATE_NAME/ })
    t.strictSame(built, source)
  }
  t.match(await runCommand(['edge', '--check'], { file: builtFile }), { code: 0, stderr: '' })
})
