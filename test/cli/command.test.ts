/** The command as people meet it: help, exit codes, and one clear line when something is wrong. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { runCommand } from '../fixtures/tidegate-command.ts'

t.jobs = 4

t.test('every command explains itself with an example', async (t) => {
  const commands = [[], ['edge'], ['cloud'], ['pub'], ['sub'], ['certs'], ['serial', 'list']]
  await Promise.all(
    commands.map(async (command) => {
      const { code, stdout } = await runCommand([...command, '--help'])
      t.equal(code, 0)
      t.match(
        stdout,
        new RegExp(`Usage: ${['tidegate', ...command].join(' ')}[\\s\\S]*Example:\\n  tidegate ${command.join(' ')}`),
      )
    }),
  )
})

t.test('the version is that of the package', async (t) => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
  t.match(await runCommand(['--version']), { code: 0, stdout: `${version}\n` })
})

t.test('wrong use ends with 2 and one line', async (t) => {
  const cases: [args: string[], stderr: RegExp][] = [
    [['nonsense'], /unknown command 'nonsense'/],
    [['edge', '--confg', 'x'], /unknown option '--confg'\n.*--config/],
    [['pub'], /required option '-t, --topic <topic>' not specified/],
    [['pub', '-t', 'a', '-q', '3'], /argument '3' is invalid. Expected a whole number 0\.\.2\./],
    [['sub', '-t', 'a', '-p', '0'], /Expected a whole number 1\.\.65535\./],
    [['sub', '-t', 'a', '-V', '6'], /Expected 4 or 5\./],
  ]
  await Promise.all(
    cases.map(async ([args, stderr]) =>
      t.match(await runCommand(args), { code: 2, stdout: '', stderr }, args.join(' ')),
    ),
  )
})

t.test('settings that are not usable end with 2 and a line for each', async (t) => {
  const file = join(t.testdir({ 'edge.toml': 'mqtt.inflight_max = "many"\nmqtt.inflght_max = 1' }), 'edge.toml')
  const { code, stdout, stderr } = await runCommand(['edge', '--config', file])
  t.equal(code, 2)
  t.equal(stdout, '')
  t.strictSame(stderr.split('\n'), [
    `tidegate: ${file}: mqtt.inflight_max = "many": expected a whole number 1..65535; see configs/reference.md`,
    `tidegate: ${file}: unknown setting mqtt.inflght_max; did you mean inflight_max?`,
    '',
  ])
})

t.test('settings can be checked without starting anything', async (t) => {
  const [fine, missing] = await Promise.all([
    runCommand(['cloud', '--check', '--config', 'configs/cloud.toml']),
    runCommand(['cloud', '--check', '--config', '/nowhere/x.toml']),
  ])
  t.match(fine, { code: 0, stdout: 'configs/cloud.toml: settings are fine\n', stderr: '' })
  t.match(missing, { code: 2, stderr: /^tidegate: the configuration file cannot be read: \/nowhere\/x.toml .*\n$/ })
})

t.test('certs writes what is missing and keeps what is there', async (t) => {
  const dir = join(t.testdir({}), 'certs')
  const first = await runCommand(['certs', '--dir', dir, '--host', 'localhost', '--client', 'gateway-1'])
  t.equal(first.code, 0)
  for (const name of ['ca', 'server', 'gateway-1']) {
    t.match(first.stdout, `written  ${join(dir, `${name}.crt`)}\n`)
    t.match(readFileSync(join(dir, `${name}.key`), 'utf8'), /^-----BEGIN .*PRIVATE KEY-----/)
  }
  const second = await runCommand(['certs', '--dir', dir, '--client', 'gateway-1', 'gateway-2'])
  t.match(second.stdout, `kept     ${join(dir, 'gateway-1.crt')}\n`)
  t.match(second.stdout, `written  ${join(dir, 'gateway-2.crt')}\n`)
  const bad = await runCommand(['certs', '--dir', dir, '--client', '../x'])
  t.match(bad, { code: 1, stderr: /^tidegate: .*"\.\.\/x".*\n$/ })
})

t.test('serial list answers in words or as JSON', async (t) => {
  const [words, json] = await Promise.all([runCommand(['serial', 'list']), runCommand(['serial', 'list', '--json'])])
  const ports = JSON.parse(json.stdout)
  t.ok(Array.isArray(ports))
  t.match(words.stdout, ports.length === 0 ? 'no serial ports found' : ports[0].path)
})

t.test('a broker that cannot be reached is one line, exit 1', async (t) => {
  const unused = await freePort()
  const cases: [args: string[], stderr: RegExp][] = [
    [['pub', '-t', 'a', '-m', 'x', '-p', `${unused}`], /^tidegate: .*tcp:\/\/localhost:\d+: connection refused .*\n$/],
    [['sub', '-t', 'a', '-p', `${unused}`], /^tidegate: .*tcp:\/\/localhost:\d+: connection refused .*\n$/],
    [
      ['pub', '-t', 'a', '-h', 'nowhere.invalid'],
      /^tidegate: .*tcp:\/\/nowhere\.invalid:1883: (unknown host|the name cannot be resolved at present) .*\n$/,
    ],
    [
      ['pub', '-t', 'a', '--cafile', '/nowhere/ca.crt'],
      /^tidegate: .*\/nowhere\/ca\.crt: no such file or directory .*\n$/,
    ],
  ]
  await Promise.all(
    cases.map(async ([args, stderr]) =>
      t.match(await runCommand(args), { code: 1, stdout: '', stderr }, args.join(' ')),
    ),
  )
})

t.test('a broker that hangs up at once is one line, exit 1', async (t) => {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const { code, stderr } = await runCommand(['pub', '-t', 'a', '-h', '127.0.0.1', '-p', `${port}`])
  t.equal(code, 1)
  t.match(stderr, /^tidegate: .*\n$/)
})

/** A port that nobody listens on, as far as anybody can know. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
