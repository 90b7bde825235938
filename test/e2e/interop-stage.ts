/** Brokers as processes, and clients that wait for messages: what the tests of bridges with other brokers share. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as dial } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import mqtt, { type IClientSubscribeOptions, type IPublishPacket, type MqttClient } from 'mqtt'
import type { Test } from 'tap'
import { freePort } from '../../firmware-sim/free-port.ts'
import { startCommand } from '../fixtures/tidegate-command.ts'

const messageMsMax = 60_000
const listenMsMax = 60_000

/** The bridge is up, both ways. */
export async function arrives(device: MqttClient, above: Watcher): Promise<void> {
  for (let tries = 0; tries < 100 && above.count === 0; tries++) {
    await device.publishAsync('up/probe', 'there?', { qos: 0 })
    await wait(100)
  }
  await above.quiet()
}

/** A bridge to a broker of another make: `up/#` goes up, `cmd/#` comes down, each with prefixes exchanged. */
export function bridgeWithPrefixes(name: string, port: number, more = ''): string {
  return `
[[bridge]]
name = "${name}"
address = "tcp://127.0.0.1:${port}"
reconnect_min_ms = 100
reconnect_max_ms = 500
${more}
[[bridge.out]]
filter = "up/#"
qos = 2
remote_prefix = "site/"

[[bridge.in]]
filter = "cmd/#"
qos = 2
local_prefix = "from/above/"
remote_prefix = "site/"
`
}

export async function startEdge(t: Test, bridges: string, env: NodeJS.ProcessEnv = {}) {
  const port = await freePort()
  const folder = folderOf(t)
  const config = join(folder, 'edge.toml')
  const listener = `[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:${port}"\n`
  writeFileSync(config, `name = "e${port}"\ndata_dir = "${folder}/data"\n\n${listener}\n${bridges}`)
  const edge = await daemon(t, port, () => {
    const child = startCommand(['edge', '--config', config], { env })
    child.stderr?.resume()
    return child
  })
  return { ...edge, dataDir: `${folder}/data` }
}

export async function startMosquitto(t: Test, bridge: string) {
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
  /** mosquitto was seen to run and not to listen: then another one is started. */
  const start = async () => {
    for (let tries = 1; tries <= 3; tries++) {
      child = run()
      for (const startMs = performance.now(); performance.now() - startMs < listenMsMax; await wait(20)) {
        if (await answers(port)) return
      }
      t.comment(`nothing listens on port ${port}: exit code ${child.exitCode}, signal ${child.signalCode}`)
      if (child.exitCode === null && child.signalCode === null) await kill()
    }
    throw new Error(`port ${port} is not answered`)
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

export async function client(t: Test, port: number): Promise<MqttClient> {
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

export class Watcher {
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

export async function watch(t: Test, port: number, filter: string): Promise<Watcher> {
  const subscriber = await client(t, port)
  const watcher = new Watcher(subscriber)
  const options: IClientSubscribeOptions = { qos: 2 }
  await subscriber.subscribeAsync(filter, options)
  return watcher
}
