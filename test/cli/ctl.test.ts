/** `tidegate ctl` against brokers that run. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import t, { type Test } from 'tap'
import { askBroker } from '../../src/cli/control-client.ts'
import { Lines, runCommand, startCommand } from '../fixtures/tidegate-command.ts'

// Each command is a process that compiles what it loads.
t.setTimeout(600_000)

t.test('each broker is asked through its own data directory, and its socket goes with it', async (t) => {
  const folder = t.testdir({ one: {}, two: {} })
  const one = await startNode(t, 'edge', join(folder, 'one'))
  await startNode(t, 'cloud', join(folder, 'two'))
  t.match(await askBroker(join(folder, 'two'), 'GET', '/status'), { name: 'two' })
  const env = { TIDEGATE_DATA_DIR: join(folder, 'one') }
  const { code: statusCode, stdout } = await runCommand(['ctl', 'status', '--json'], { env })
  t.equal(statusCode, 0)
  t.match(JSON.parse(stdout), { name: 'one', store: { durability: 'disk', writable: true, messages: 0 }, alarms: 0 })
  t.strictSame(await askBroker(join(folder, 'one'), 'GET', '/loss'), { count: 0, countByReason: {}, records: [] })
  t.strictSame(await askBroker(join(folder, 'one'), 'GET', '/alarms'), { active: [], ended: [] })

  one.kill('SIGTERM')
  await once(one, 'exit')
  t.notOk(existsSync(join(folder, 'one', 'control.sock')))
  const { code, stderr } = await runCommand(['ctl', 'status'], { env })
  t.equal(code, 1)
  t.match(stderr, /^tidegate: .*one.*\(ERR_NO_BROKER\).*\n$/)
})

t.test('what was dropped is listed with its reason', async (t) => {
  const folder = t.testdir({ gw: {} })
  const dataDir = join(folder, 'gw')
  const { port } = await startNode(t, 'edge', dataDir, '[store]\nbacklog_count_max = 1000\n')
  const url = `mqtt://127.0.0.1:${port}`
  const away = await connectAsync(url, { clientId: 'away', clean: false })
  await away.subscribeAsync('a', { qos: 1 })
  await away.endAsync()
  const publisher = await connectAsync(url)
  await Promise.all(Array.from({ length: 1200 }, () => publisher.publishAsync('a', 'x', { qos: 1 })))
  await publisher.endAsync()
  const losses = (): Promise<unknown> => askBroker(dataDir, 'GET', '/loss')
  while (((await losses()) as { count: number }).count < 200) await new Promise((resolve) => setTimeout(resolve, 50))
  t.match(await losses(), { count: 200, records: [{ reason: 'backlog_full', firstSeq: 1, lastSeq: 200 }] })
  const { stdout } = await runCommand(['ctl', 'loss', '--data-dir', dataDir])
  t.match(stdout, /^LAST .*\n.* backlog_full +\$log +1 +1\.\.200 +200\n200 messages\n$/)
})

type Node = ChildProcess & { port: string }

/** A broker named after its data directory, on any free port. */
async function startNode(t: Test, profile: string, dataDir: string, toml = ''): Promise<Node> {
  const file = `${dataDir}.toml`
  writeFileSync(
    file,
    `name = "${dataDir.slice(dataDir.lastIndexOf('/') + 1)}"\n${toml}\n[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:0"\n`,
  )
  const node = startCommand([profile, '--config', file], { env: { TIDEGATE_DATA_DIR: dataDir } })
  t.teardown(async () => {
    node.kill('SIGKILL')
    if (node.exitCode === null && node.signalCode === null) await once(node, 'exit')
  })
  const log = new Lines(node.stderr)
  const { bind } = JSON.parse(await log.with('listener open')) as { bind: string }
  await log.with('started')
  return Object.assign(node, { port: bind.slice(bind.lastIndexOf(':') + 1) })
}
