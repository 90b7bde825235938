/** A broker process from its start to its end, through signals. */
import type { ChildProcess } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { createAuthority, issueServerCertificate } from '../../src/adapters/certificates/authority.ts'
import { Lines, runCommand, startCommand } from '../fixtures/tidegate-command.ts'

t.test('messages pass from pub to sub in both versions', async (t) => {
  const { port } = await startEdge(t, t.testdir({}))
  const broker = ['-h', '127.0.0.1', '-p', port]
  for (const version of ['4', '5']) {
    const kept = await runCommand([
      'pub',
      ...broker,
      '-V',
      version,
      '-t',
      `kept/${version}`,
      '-m',
      'old',
      '-q',
      '1',
      '-r',
    ])
    t.match(kept, { code: 0, stdout: '', stderr: '' })
    const sub = [
      'sub',
      ...broker,
      '-V',
      version,
      '-v',
      '-q',
      '2',
      '-t',
      `kept/${version}`,
      '-t',
      'live/#',
      '-C',
      '2',
      '-W',
      '120',
    ]
    const subscriber = startCommand(sub)
    const lines = new Lines(subscriber.stdout)
    t.equal(await lines.with('kept'), `kept/${version} old`)
    await runCommand(['pub', ...broker, '-V', version, '-t', 'live/a', '-s', '-q', '2'], { input: 'from stdin' })
    t.equal(await lines.with('live'), 'live/a from stdin')
    if (subscriber.exitCode === null) await once(subscriber, 'exit')
    t.equal(subscriber.exitCode, 0)
  }
})

t.test('what the broker does not take is one line, exit 1', async (t) => {
  const { port } = await startEdge(t, t.testdir({}))
  const broker = ['-h', '127.0.0.1', '-p', port]
  const refused = [
    ['pub', '-t', '$SYS/x', '-q', '1'],
    ['pub', '-t', 'a/#', '-q', '1'],
    ['sub', '-t', 'a/#/b'],
    ['pub', '-t', 'a', '--cafile', 'package.json'],
  ]
  for (const [command = '', ...args] of refused) {
    const { code, stderr } = await runCommand([command, ...broker, ...args])
    t.equal(code, 1, args.join(' '))
    t.match(stderr, /^tidegate: .*127\.0\.0\.1:\d+: \S.*\n$/)
  }
})

t.test('SIGTERM ends it with 0', async (t) => {
  const { edge } = await startEdge(t, t.testdir({}))
  edge.kill('SIGTERM')
  t.strictSame(await once(edge, 'exit'), [0, null])
})

t.test('SIGHUP takes over what it can, says what it cannot, and ignores settings that are wrong', async (t) => {
  const folder = t.testdir({ 'x.toml': '' })
  const { edge, log } = await startEdge(t, folder)
  const hangUp = (toml: string, answer: string) => {
    writeFileSync(join(folder, 'x.toml'), toml)
    edge.kill('SIGHUP')
    return log.with(answer)
  }
  t.match(await hangUp('mqtt.inflight_max = 7', 'need a restart'), /"mqtt"/)
  t.match(await hangUp('mqtt.inflight_max = "x"', 'not reloaded'), /mqtt.inflight_max/)
  t.match(await hangUp('', 'settings reloaded'), /reloaded/)
})

t.test('SIGHUP gives new clients the new certificate and leaves those that are in alone', async (t) => {
  const folder = t.testdir({})
  const authority = await createAuthority()
  const put = async () => {
    const { certificate, privateKey } = await issueServerCertificate(authority, ['127.0.0.1'])
    writeFileSync(join(folder, 'server.crt'), certificate)
    writeFileSync(join(folder, 'server.key'), privateKey)
    return new X509Certificate(certificate).serialNumber
  }
  const first = await put()
  const tls = 'type = "tls"\ncertificate = "server.crt"\nprivate_key = "server.key"\nclient_certificate = "none"'
  writeFileSync(join(folder, 'x.toml'), `[[listener]]\nbind = "127.0.0.1:0"\nallow_anonymous = true\n${tls}\n`)
  const { edge, log, port } = await startEdge(t, folder)
  const enter = async () => {
    const socket = connectTls({ host: '127.0.0.1', port: Number(port), ca: authority.certificate })
    t.teardown(() => socket.destroy())
    await once(socket, 'secureConnect')
    return socket
  }
  const early = await enter()
  t.equal(early.getPeerCertificate().serialNumber, first)
  const second = await put()
  edge.kill('SIGHUP')
  await log.with('settings reloaded')
  const late = await enter()
  t.equal(late.getPeerCertificate().serialNumber, second)
  early.write(Buffer.from('100c00044d5154540402000000000000', 'hex').subarray(0, 14))
  t.match(((await once(early, 'data')) as [Buffer])[0], Buffer.from([0x20, 2, 0, 0]), 'the first is served as before')
})

t.test('a port that is in use is one line, exit 2', async (t) => {
  const { port } = await startEdge(t, t.testdir({}))
  const other = join(t.testdirName, 'other')
  const env = {
    TIDEGATE_LISTENER__0__BIND: `127.0.0.1:${port}`,
    TIDEGATE_DATA_DIR: other,
    TIDEGATE_LOG__LEVEL: 'error',
  }
  const { code, stderr } = await runCommand(['edge'], { env })
  t.equal(code, 2)
  t.match(stderr, new RegExp(`^tidegate: .*127\\.0\\.0\\.1:${port}.*\\(ERR_LISTEN\\).*\\n$`))
})

t.test('a second signal ends it at once with 1', async (t) => {
  const slow = startCommand([], { file: fileURLToPath(new URL('../fixtures/slow-broker.ts', import.meta.url)) })
  t.teardown(() => slow.kill('SIGKILL'))
  const lines = new Lines(slow.stdout)
  await lines.with('started')
  slow.kill('SIGINT')
  await lines.with('stopping')
  slow.kill('SIGTERM')
  t.strictSame(await once(slow, 'exit'), [1, null])
})

type Edge = { readonly edge: ChildProcess; readonly log: Lines; readonly port: string }

/** An edge on any free port with everything it keeps in `folder`; `x.toml` there are its settings, if it is there. */
async function startEdge(t: Test, folder: string): Promise<Edge> {
  const file = join(folder, 'x.toml')
  writeFileSync(file, '', { flag: 'a' })
  const env = { TIDEGATE_LISTENER__0__BIND: '127.0.0.1:0', TIDEGATE_DATA_DIR: join(folder, 'data') }
  const edge = startCommand(['edge', '--config', file], { env })
  t.teardown(async () => {
    edge.kill('SIGKILL')
    if (edge.exitCode === null && edge.signalCode === null) await once(edge, 'exit')
  })
  const log = new Lines(edge.stderr)
  const { bind } = JSON.parse(await log.with('listener open')) as { bind: string }
  t.type((JSON.parse(await log.with('started')) as { ms: number }).ms, 'number')
  return { edge, log, port: bind.slice(bind.lastIndexOf(':') + 1) }
}
