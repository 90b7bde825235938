/** What an operator does to bridges of brokers that run: new settings on SIGHUP, and a pace from above. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import mqtt, { type MqttClient } from 'mqtt'
import t, { type Test } from 'tap'
import { freePort } from '../../firmware-sim/free-port.ts'
import { askBroker } from '../../src/cli/control-client.ts'
import type { BridgeStatus } from '../../src/ports/bridge-status.ts'
import { Lines, runCommand, startCommand } from '../fixtures/tidegate-command.ts'
import { until } from './node-stage.ts'

t.setTimeout(600_000)

interface Node {
  readonly dataDir: string
  readonly port: number
  readonly log: Lines
  /** Other settings, taken over while it runs. Resolves with the line that says so. */
  reload(toml: string, says?: string): Promise<string>
}

async function startNode(t: Test, profile: 'edge' | 'cloud', name: string, toml: string, port?: number): Promise<Node> {
  const listenPort = port ?? (await freePort())
  const folder = t.testdirName
  const file = join(folder, `${name}.toml`)
  const dataDir = join(folder, name)
  const write = (rest: string) => {
    const listener = `[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:${listenPort}"\n`
    writeFileSync(file, `name = "${name}"\ndata_dir = "${dataDir}"\n${listener}${rest}`)
  }
  write(toml)
  const child: ChildProcess = startCommand([profile, '--config', file])
  t.teardown(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const log = new Lines(child.stderr as NonNullable<ChildProcess['stderr']>)
  await log.with('started')
  return {
    dataDir,
    port: listenPort,
    log,
    reload: (rest, says = 'settings reloaded') => {
      write(rest)
      child.kill('SIGHUP')
      return log.with(says)
    },
  }
}

const bridgeTo = (port: number, more = '', name = 'up') =>
  `[[bridge]]\nname = "${name}"\naddress = "tcp://127.0.0.1:${port}"\nreconnect_min_ms = 50\nreconnect_max_ms = 200\n${more}`

async function client(t: Test, port: number): Promise<MqttClient> {
  const connected = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`)
  t.teardown(() => connected.endAsync(true))
  return connected
}

const bridges = (node: Node) => askBroker(node.dataDir, 'GET', '/bridge') as Promise<BridgeStatus[]>

t.test('SIGHUP moves a bridge to another broker, with what waits, and changes its rules', async (t) => {
  t.testdir({})
  const [first, second] = [await startNode(t, 'cloud', 'one', ''), await startNode(t, 'cloud', 'two', '')]
  const nowhere = await freePort()
  const edge = await startNode(t, 'edge', 'gw', bridgeTo(nowhere))
  const device = await client(t, edge.port)
  await device.publishAsync('a', '1', { qos: 1 })

  const seen: string[] = []
  for (const [name, cloud] of [['one', first] as const, ['two', second] as const]) {
    const above = await client(t, cloud.port)
    above.on('message', (topic, payload) => seen.push(`${name} ${topic} ${payload}`))
    await above.subscribeAsync('#')
  }
  await edge.reload(bridgeTo(first.port))
  await until(() => seen.includes('one a 1'))

  await edge.reload(bridgeTo(second.port, '[[bridge.out]]\nfilter = "a"\nremote_prefix = "gw/"\n'))
  await until(async () => (await bridges(edge))[0]?.state === 'online')
  await device.publishAsync('b', '2', { qos: 1 })
  await device.publishAsync('a', '3', { qos: 1 })
  await until(() => seen.includes('two gw/a 3'))
  t.strictSame(seen, ['one a 1', 'two gw/a 3'], 'each once, and b no longer crosses')
})

t.test('SIGHUP adds bridges and takes them away; what waits is there for one that comes back', async (t) => {
  t.testdir({})
  const cloud = await startNode(t, 'cloud', 'one', '')
  const other = await startNode(t, 'cloud', 'two', '')
  const seen: string[] = []
  for (const [name, node] of [['one', cloud] as const, ['two', other] as const]) {
    const above = await client(t, node.port)
    above.on('message', (topic, payload) => seen.push(`${name} ${topic} ${payload}`))
    await above.subscribeAsync('a')
  }
  const up = bridgeTo(cloud.port, 'inflight_max = 9\n')
  const edge = await startNode(t, 'edge', 'gw', up)
  const device = await client(t, edge.port)
  const online = async (name: string) =>
    (await bridges(edge)).some((each) => each.name === name && each.state === 'online')
  await until(() => online('up'))

  await edge.reload(`${up}${bridgeTo(other.port, 'client_id = "z"\n', 'second')}`)
  await until(() => online('second'))
  await device.publishAsync('a', '1', { qos: 1 })
  await until(() => seen.length === 2)

  const second = bridgeTo(other.port, 'client_id = "z"\n', 'second')
  await edge.reload(`${bridgeTo(await freePort(), 'inflight_max = 9\n')}${second}`)
  await device.publishAsync('a', '2', { qos: 1 })
  await until(() => seen.length === 3)
  t.match(await edge.reload(second, 'messages wait for a bridge'), /"bridge":"up","count":1,/)
  t.strictSame(
    (await bridges(edge)).map(({ name }) => name),
    ['second'],
  )

  await edge.reload(`${up}${second}`)
  await until(() => seen.length === 4)
  await wait(300)
  t.strictSame(seen.sort(), ['one a 1', 'one a 2', 'two a 1', 'two a 2'], 'each once')
})

t.test('SIGHUP makes a bridge anew where its settings ask for it, without loss', async (t) => {
  t.testdir({})
  const gatewayPort = await freePort()
  const gateways = `[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:${gatewayPort}"\ngateways = true\n`
  const cloud = await startNode(t, 'cloud', 'one', gateways)
  const above = await client(t, cloud.port)
  const seen: string[] = []
  above.on('message', (_topic, payload) => seen.push(`${payload}`))
  await above.subscribeAsync('a')
  const edge = await startNode(t, 'edge', 'gw', bridgeTo(gatewayPort))
  const device = await client(t, edge.port)
  const published: string[] = []
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 20; i++) published.push(`${round}-${i}`)
    const sent = published.slice(-20).map((payload) => device.publishAsync('a', payload, { qos: 1 }))
    await edge.reload(bridgeTo(gatewayPort, `inflight_max = ${round + 5}\n`), 'made anew')
    await Promise.all(sent)
  }
  await until(() => seen.length >= published.length)
  await wait(300)
  t.strictSame(seen, published, 'each once and in order')
})

t.test('settings that cannot be used change nothing', async (t) => {
  t.testdir({})
  const cloud = await startNode(t, 'cloud', 'one', '')
  const edge = await startNode(t, 'edge', 'gw', bridgeTo(cloud.port))
  await until(async () => (await bridges(edge))[0]?.state === 'online')
  const [before] = await bridges(edge)
  const encrypted = bridgeTo(cloud.port, 'ca = "/nowhere/ca.crt"\n', 'new').replace('tcp:', 'tls:')
  const refused = await edge.reload(
    `${bridgeTo(cloud.port, 'inflight_max = 9\n')}${encrypted}`,
    'settings not reloaded',
  )
  t.match(refused, /ERR_CERTIFICATE/)
  const [after, ...others] = await bridges(edge)
  t.match(after, { name: 'up', state: 'online', health: before?.health })
  t.strictSame(others, [])
})

t.test('the cloud paces a gateway from the command line, and tells it of maintenance', async (t) => {
  t.testdir({})
  const gatewayPort = await freePort()
  const cloud = await startNode(
    t,
    'cloud',
    'above',
    `[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:${gatewayPort}"\ngateways = true\n`,
  )
  const edge = await startNode(t, 'edge', 'gw', bridgeTo(gatewayPort))
  await until(async () => JSON.stringify(await askBroker(cloud.dataDir, 'GET', '/gateways')).includes('online'))
  const ctl = (...args: string[]) => runCommand(['ctl', ...args, '--data-dir', cloud.dataDir])

  const paced = await ctl('pace', 'edge-gw', '25')
  t.equal(paced.code, 0, paced.stderr)
  t.match(paced.stdout, /edge-gw +online +25\/s/)
  t.match(await edge.log.with('pace of the bridge set'), /"rate":25/)
  const unknown = await ctl('pace', 'nobody', '1')
  t.equal(unknown.code, 1)
  t.match(unknown.stderr, /no gateway nobody was ever here; known: edge-gw/)
  const ask = (rate: unknown) => askBroker(cloud.dataDir, 'POST', '/pace/all', { rate })
  await t.rejects(ask(null), /messages per second/)
  t.notOk(JSON.stringify(await ask(0)).includes('pace'), 'free again')

  const worked = await ctl('maintenance', 'edge-gw', '90')
  t.match(worked, { code: 0, stdout: 'maintenance of edge-gw for 90 minutes\n' })
  // The minutes run while the command is under way.
  t.match(await edge.log.with('"maintenance"'), /"minutes":(90|89\.\d)\D/)
  await t.rejects(askBroker(cloud.dataDir, 'POST', '/maintenance/nobody', {}), /no gateway nobody/)
  const bridge = await runCommand(['ctl', 'bridge', '--data-dir', edge.dataDir])
  t.match(
    bridge.stdout,
    /^BRIDGE +HEALTH +WAITING +SIZE +OLDEST +EMPTY IN +UP +DOWN +REJECTED +WIRE\/DAY\nup +ok +0 +0 B /,
  )
})
