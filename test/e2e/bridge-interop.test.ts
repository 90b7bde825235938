/** Bridges between a Tidegate and mosquitto 2, each way round and in both versions of MQTT: real processes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as dial } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import mqtt, { type IClientSubscribeOptions, type IPublishPacket, type MqttClient } from 'mqtt'
import t, { type Test } from 'tap'
import { freePort } from '../../firmware-sim/free-port.ts'
import { startCommand } from '../fixtures/tidegate-command.ts'

t.setTimeout(180_000)

const messageMsMax = 15_000

for (const protocol of ['5', '3.1.1'] as const) {
  t.test(`our bridge to mosquitto in ${protocol}: both directions, prefixes, every QoS, retained`, async (t) => {
    const stage = await ourBridge(t, protocol)
    const above = await watch(t, stage.mosquitto.port, 'site/#')
    const device = await client(t, stage.edge.port)
    for (const qos of [0, 1, 2] as const) {
      await device.publishAsync(`up/q${qos}`, `reading ${qos}`, { qos })
      t.match(await above.next(), { topic: `site/up/q${qos}`, text: `reading ${qos}`, qos })
    }
    await device.publishAsync('up/kept', 'state', {
      qos: 1,
      retain: true,
      properties: { contentType: 'text/plain', userProperties: { unit: 'C' } },
    })
    const live = await above.next()
    t.equal(live.text, 'state')
    if (protocol === '5') {
      t.equal(live.packet.properties?.contentType, 'text/plain')
      t.match(live.packet.properties?.userProperties, { unit: 'C' })
    }
    const late = await watch(t, stage.mosquitto.port, 'site/up/kept')
    t.match(await late.next(), { text: 'state', retain: true }, 'retained there')

    const below = await watch(t, stage.edge.port, 'from/above/#')
    const operator = await client(t, stage.mosquitto.port)
    for (const qos of [0, 1, 2] as const) {
      await operator.publishAsync(`site/cmd/q${qos}`, `command ${qos}`, { qos })
      t.match(await below.next(), { topic: `from/above/cmd/q${qos}`, text: `command ${qos}`, qos })
    }
    await above.drain(3)
    await operator.publishAsync('site/cmd/kept', 'on', { qos: 1, retain: true })
    t.equal((await below.next()).text, 'on')
    const lateBelow = await watch(t, stage.edge.port, 'from/above/cmd/kept')
    t.match(await lateBelow.next(), { text: 'on', retain: true }, 'retained here')
    t.same(await above.quiet(), ['site/cmd/kept on'], 'nothing came back up')
  })

  t.test(`our bridge to mosquitto in ${protocol}: both are killed in turn and nothing is lost`, async (t) => {
    const stage = await ourBridge(t, protocol)
    const device = await client(t, stage.edge.port)
    await stage.mosquitto.kill()
    for (let n = 1; n <= 20; n++) await device.publishAsync(`up/${n}`, String(n), { qos: 1, retain: true })
    await stage.mosquitto.start()
    const above = await watch(t, stage.mosquitto.port, 'site/up/#')
    const arrived = new Set<string>()
    while (arrived.size < 20) arrived.add((await above.next()).text)
    t.pass('all that was kept while mosquitto was away')

    const last = await watch(t, stage.mosquitto.port, 'site/up/last')
    await device.publishAsync('up/last', 'before', { qos: 2 })
    t.equal((await last.next()).text, 'before')
    await stage.edge.kill()
    await stage.edge.start()
    const again = await client(t, stage.edge.port)
    await again.publishAsync('up/last', 'after', { qos: 2 })
    t.equal((await last.next()).text, 'after', 'QoS 2 comes once, whatever the bridge had time to remember')
    t.same(await last.quiet(), [])
  })
}

for (const [version, level] of [
  ['mqttv50', '5'],
  ['mqttv311', '3.1.1'],
] as const) {
  t.test(`the bridge of mosquitto to us in ${level}: both directions, and back after a kill`, async (t) => {
    const edge = await startEdge(t, '')
    const mosquitto = await startMosquitto(
      t,
      `connection up
address 127.0.0.1:${edge.port}
bridge_protocol_version ${version}
remote_clientid mosquitto-${version}
restart_timeout 1
topic up/# out 2 "" site/
topic cmd/# in 2 "" site/`,
    )
    const above = await watch(t, edge.port, 'site/up/#')
    const device = await client(t, mosquitto.port)
    const below = await watch(t, mosquitto.port, 'cmd/#')
    await arrives(device, above)
    const operator = await client(t, edge.port)
    for (const qos of [0, 1, 2] as const) {
      await device.publishAsync(`up/q${qos}`, `up ${qos}`, { qos })
      t.match(await above.next(), { topic: `site/up/q${qos}`, text: `up ${qos}` })
      await operator.publishAsync(`site/cmd/q${qos}`, `down ${qos}`, { qos })
      t.match(await below.next(), { topic: `cmd/q${qos}`, text: `down ${qos}` })
    }
    await device.publishAsync('up/kept', 'state', { qos: 1, retain: true })
    t.equal((await above.next()).text, 'state')
    const late = await watch(t, edge.port, 'site/up/kept')
    t.match(await late.next(), { text: 'state', retain: true })

    await edge.kill()
    for (let n = 1; n <= 5; n++) await device.publishAsync(`up/away/${n}`, String(n), { qos: 1, retain: true })
    await edge.start()
    const back = await watch(t, edge.port, 'site/up/away/#')
    const arrived = new Set<string>()
    while (arrived.size < 5) arrived.add((await back.next()).text)
    t.equal(arrived.size, 5)
  })
}

async function ourBridge(t: Test, protocol: string) {
  const mosquitto = await startMosquitto(t, '')
  const edge = await startEdge(
    t,
    `
[[bridge]]
name = "mosquitto"
address = "tcp://127.0.0.1:${mosquitto.port}"
protocol = "${protocol}"
reconnect_min_ms = 100
reconnect_max_ms = 500

[[bridge.out]]
filter = "up/#"
qos = 2
remote_prefix = "site/"

[[bridge.in]]
filter = "cmd/#"
qos = 2
local_prefix = "from/above/"
remote_prefix = "site/"
`,
  )
  const probe = await watch(t, mosquitto.port, 'site/up/probe')
  await arrives(await client(t, edge.port), probe)
  return { mosquitto, edge }
}

/** The bridge is up, both ways. */
async function arrives(device: MqttClient, above: Watcher): Promise<void> {
  for (let tries = 0; tries < 100 && above.count === 0; tries++) {
    await device.publishAsync('up/probe', 'there?', { qos: 0 })
    await wait(100)
  }
  await above.quiet()
}

async function startEdge(t: Test, bridges: string) {
  const port = await freePort()
  const folder = folderOf(t)
  const config = join(folder, 'edge.toml')
  const listener = `[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:${port}"\n`
  writeFileSync(config, `name = "e${port}"\ndata_dir = "${folder}/data"\n\n${listener}\n${bridges}`)
  return daemon(t, port, () => {
    const child = startCommand(['edge', '--config', config])
    child.stderr?.resume()
    return child
  })
}

async function startMosquitto(t: Test, bridge: string) {
  const port = await freePort()
  const folder = folderOf(t)
  const config = join(folder, 'mosquitto.conf')
  const lines = [`listener ${port} 127.0.0.1`, 'allow_anonymous true', 'user root', 'persistence true']
  writeFileSync(config, [...lines, `persistence_location ${folder}/`, bridge, ''].join('\n'))
  return daemon(t, port, () => spawn('mosquitto', ['-c', config], { stdio: 'ignore' }))
}

/** `t.testdir` empties the one that a test has already. */
function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-interop-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A broker that can be killed and started again. Resolves once it listens. */
async function daemon(t: Test, port: number, run: () => ChildProcess) {
  let child: ChildProcess
  const start = async () => {
    child = run()
    while (!(await answers(port))) await wait(20)
  }
  const kill = async () => {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  await start()
  t.teardown(() => (child.exitCode === null && child.signalCode === null ? kill() : undefined))
  return { port, start, kill }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dial({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

async function client(t: Test, port: number): Promise<MqttClient> {
  const connected = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5, reconnectPeriod: 100 })
  connected.on('error', () => undefined)
  t.teardown(() => connected.endAsync(true))
  return connected
}

interface Arrival {
  readonly topic: string
  readonly text: string
  readonly qos: number
  readonly retain: boolean
  readonly packet: IPublishPacket
}

class Watcher {
  readonly #arrivals: Arrival[] = []
  count = 0

  constructor(client: MqttClient) {
    client.on('message', (topic, payload, packet) => {
      this.count++
      this.#arrivals.push({ topic, text: payload.toString(), qos: packet.qos, retain: packet.retain, packet })
    })
  }

  async next(): Promise<Arrival> {
    const deadline = performance.now() + messageMsMax
    while (this.#arrivals.length === 0) {
      if (performance.now() > deadline) throw new Error('no message came')
      await wait(10)
    }
    return this.#arrivals.shift() as Arrival
  }

  async drain(count: number): Promise<void> {
    for (let n = 0; n < count; n++) await this.next()
  }

  /** What came and nobody took, when nothing comes any more. */
  async quiet(): Promise<string[]> {
    await wait(500)
    return this.#arrivals.splice(0).map(({ topic, text }) => `${topic} ${text}`)
  }
}

async function watch(t: Test, port: number, filter: string): Promise<Watcher> {
  const subscriber = await client(t, port)
  const watcher = new Watcher(subscriber)
  const options: IClientSubscribeOptions = { qos: 2 }
  await subscriber.subscribeAsync(filter, options)
  return watcher
}
