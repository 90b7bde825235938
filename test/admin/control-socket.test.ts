/** The control socket by itself: who may open it, what it answers, what it leaves behind. */
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import t from 'tap'
import { substitutePaths } from '../../src/admin/control-path.ts'
import { ControlSocket } from '../../src/admin/control-socket.ts'
import type { AdminRoute } from '../../src/admin/route.ts'
import { askBroker, brokerDirectory } from '../../src/cli/control-client.ts'
import { Failure } from '../../src/lib/errors.ts'
import { err, ok } from '../../src/lib/result.ts'

const routes: readonly AdminRoute[] = [
  { method: 'GET', path: '/plain', answer: () => ok({ a: 1 }) },
  { method: 'POST', path: '/echo/*', answer: async ({ rest, query, body }) => ok({ rest, q: query.get('q'), body }) },
  { method: 'GET', path: '/refused', answer: () => err(new Failure('ERR_STORE_FULL', 'x')) },
]

t.test('routes answer with JSON, failures with their line', async (t) => {
  const socket = await ControlSocket.open(t.testdir({}), routes)
  t.teardown(() => socket.close())
  t.strictSame(await askBroker(t.testdirName, 'GET', '/plain'), { a: 1 })
  t.strictSame(await askBroker(t.testdirName, 'POST', '/echo/a%20b/c?q=%E2%9A%A1', { x: ['y'] }), {
    rest: 'a b/c',
    q: '⚡',
    body: { x: ['y'] },
  })
  await t.rejects(askBroker(t.testdirName, 'GET', '/refused'), {
    code: 'ERR_CONTROL_REFUSED',
    detail: /disk is full: x/,
  })
  for (const [method, path] of [
    ['POST', '/plain'],
    ['GET', '/nothing'],
    ['GET', '/echo'],
  ] as const) {
    await t.rejects(askBroker(t.testdirName, method, path), { code: 'ERR_CONTROL_REFUSED', detail: /nothing answers/ })
  }
  await t.rejects(askBroker(t.testdirName, 'POST', '/echo/', 'x'.repeat(2_000_000)), { code: /ERR_/ })
})

t.test('only its user may open it, and it goes when it is closed', async (t) => {
  const dataDir = join(t.testdir({}), 'new')
  const socket = await ControlSocket.open(dataDir, routes)
  t.equal(statSync(socket.path).mode & 0o777, 0o600)
  t.equal(statSync(dataDir).mode & 0o777, 0o700)
  await socket.close()
  t.notOk(existsSync(socket.path))
  await t.rejects(askBroker(dataDir, 'GET', '/plain'), { code: 'ERR_NO_BROKER' })
})

t.test('what a killed broker left behind is replaced, what somebody listens on is not', async (t) => {
  const dataDir = t.testdir({ 'control.sock': 'left behind' })
  const first = await ControlSocket.open(dataDir, routes)
  t.strictSame(await askBroker(dataDir, 'GET', '/plain'), { a: 1 })
  await t.rejects(ControlSocket.open(dataDir, routes), { code: 'ERR_CONTROL_SOCKET', detail: /in use/ })
  t.strictSame(await askBroker(dataDir, 'GET', '/plain'), { a: 1 }, 'goes on')
  await first.close()
})

t.test('a directory with a long name has one too', async (t) => {
  const dataDir = join(t.testdir({}), 'd'.repeat(120))
  mkdirSync(dataDir)
  const socket = await ControlSocket.open(dataDir, routes)
  t.ok(existsSync(join(dataDir, 'control.sock')))
  t.strictSame(await askBroker(dataDir, 'GET', '/plain'), { a: 1 })
  await socket.close()
  t.notOk(existsSync(join(dataDir, 'control.sock')))
})

t.test('who asks is told why there is no answer', async (t) => {
  const dataDir = t.testdir({ file: '' })
  await t.rejects(askBroker(join(dataDir, 'nowhere'), 'GET', '/'), { code: 'ERR_NO_BROKER' })
  await t.rejects(askBroker(join(dataDir, 'file'), 'GET', '/'), { code: 'ERR_NO_BROKER' })
  await t.rejects(ControlSocket.open(join(dataDir, 'file'), routes), { code: 'ERR_CONTROL_SOCKET' })

  const noHttp = createServer((socket) => socket.end('what?\r\n\r\n'))
  await new Promise<void>((resolve) => noHttp.listen(join(dataDir, 'control.sock'), resolve))
  t.teardown(() => noHttp.close())
  await t.rejects(askBroker(dataDir, 'GET', '/'), { code: 'ERR_NO_BROKER' })
})

t.test('the data directory is the one given, that of the environment, or a usual one', (t) => {
  t.equal(brokerDirectory('/x', { TIDEGATE_DATA_DIR: '/y' }), '/x')
  t.equal(brokerDirectory(undefined, { TIDEGATE_DATA_DIR: '/y' }), '/y')
  const before = process.cwd()
  const folder = t.testdir({ data: { cloud: { 'control.sock': '' } } })
  process.chdir(folder)
  t.equal(brokerDirectory(undefined, {}), join(folder, 'data/cloud'))
  process.chdir(t.testdir({}))
  t.throws(() => brokerDirectory(undefined, {}), { code: 'ERR_NO_BROKER' })
  process.chdir(before)
  t.end()
})

t.test('there is no substitute of somebody else, and none without a broker', async (t) => {
  const dataDir = t.testdir({})
  const [place] = substitutePaths(dataDir, { RUNTIME_DIRECTORY: '/run/broker' })
  t.equal(dirname(place?.path ?? ''), '/run/broker', 'the directory that systemd tells comes first')
  t.not(substitutePaths(join(dataDir, 'other'), {})[0]?.path, substitutePaths(dataDir, {})[0]?.path)
  const temporary = substitutePaths(dataDir, {}).at(-1)?.path ?? ''
  writeFileSync(temporary, 'no socket')
  t.teardown(() => rmSync(temporary))
  await t.rejects(askBroker(dataDir, 'GET', '/'), { code: 'ERR_NO_BROKER', detail: join(dataDir, 'control.sock') })
})

t.test('who finds no broker is told of every place that was looked at', async (t) => {
  const dataDir = t.testdir({})
  const places = [join(dataDir, 'control.sock'), ...substitutePaths(dataDir, {}).map(({ path }) => path)]
  for (const place of places) await t.rejects(askBroker(dataDir, 'GET', '/'), { code: 'ERR_NO_BROKER', detail: place })
  const before = process.cwd()
  t.teardown(() => process.chdir(before))
  process.chdir(dataDir)
  for (const place of ['data/edge', 'data/cloud', '/var/lib/tidegate', '/run/tidegate', '/tmp']) {
    t.throws(() => brokerDirectory(undefined, {}), { code: 'ERR_NO_BROKER', detail: place })
  }
})
