/** Whole nodes with their stores and sockets in the process of the test: what needs no process of its own starts at once. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import mqtt, { type MqttClient } from 'mqtt'
import type { Test } from 'tap'
import { runCloud } from '../../cloud/main.ts'
import { runEdge } from '../../edge/main.ts'
import { freePort } from '../../firmware-sim/free-port.ts'
import { askBroker } from '../../src/cli/control-client.ts'
import { loadSettings } from '../../src/config/load.ts'
import type { Settings } from '../../src/config/settings.ts'
import type { BridgeStatus } from '../../src/ports/bridge-status.ts'
import { RecordingLog } from '../fakes/recording-log.ts'

export interface StagedNode {
  readonly port: number
  readonly dataDir: string
  readonly log: RecordingLog
  /** As SIGHUP does, with other settings behind those of the stage. */
  reload(toml: string): Promise<readonly string[]>
  stop(): Promise<void>
  /** Over the same data, also with other settings. */
  start(toml?: string): Promise<void>
  bridge(name?: string): Promise<BridgeStatus>
}

class RootRecordingLog extends RecordingLog {
  level = 'info'
}

/** A folder that is gone after the test; there may be several. */
export function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-stage-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** @param options.isStopped the port is known, and nobody listens yet */
export async function startNode(
  t: Test,
  profile: 'edge' | 'cloud',
  name: string,
  toml = '',
  options: { isStopped?: boolean; listener?: string } = {},
): Promise<StagedNode> {
  const folder = folderOf(t)
  const port = await freePort()
  const dataDir = join(folder, 'data')
  const log = new RootRecordingLog()
  let current = toml
  const settingsOf = (more: string): Settings => {
    const file = join(folder, 'node.toml')
    const listener = options.listener ?? 'type = "tcp"'
    const head = `name = "${name}"\ndata_dir = "${dataDir}"\n[[listener]]\nbind = "127.0.0.1:${port}"\n${listener}\n`
    writeFileSync(file, head + more)
    const settings = loadSettings(profile, file, {})
    if (!settings.ok) throw new Error(settings.error.map(({ line }) => line).join('\n'))
    return settings.value
  }
  const run = profile === 'edge' ? runEdge : runCloud
  let node: Awaited<ReturnType<typeof run>> | undefined
  const staged: StagedNode = {
    port,
    dataDir,
    log,
    async start(other = current) {
      current = other
      node = await run(settingsOf(current), log)
    },
    reload(other) {
      current = other
      return node?.reload(settingsOf(current)) ?? Promise.resolve([])
    },
    async stop() {
      await node?.stop()
      node = undefined
    },
    async bridge(bridgeName) {
      const all = (await askBroker(dataDir, 'GET', '/bridge')) as BridgeStatus[]
      const found = bridgeName === undefined ? all[0] : all.find((each) => each.name === bridgeName)
      if (found === undefined)
        throw new Error(`no bridge ${bridgeName} in ${existsSync(dataDir) ? dataDir : 'nothing'}`)
      return found
    },
  }
  t.teardown(() => staged.stop())
  if (options.isStopped !== true) await staged.start()
  return staged
}

export function bridgeTo(address: string, more = '', name = 'up'): string {
  return `
[[bridge]]
name = "${name}"
address = "${address}"
reconnect_min_ms = 50
reconnect_max_ms = 200
reconnect_spread_ms = 0
${more}
`
}

export async function connect(t: Test, port: number): Promise<MqttClient> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5, reconnectPeriod: 50 })
  client.on('error', () => undefined)
  t.teardown(() => client.endAsync(true))
  return client
}

/** Payloads that come to a client at `port`, in order. */
export async function payloadsAt(t: Test, port: number, filter: string): Promise<string[]> {
  const client = await connect(t, port)
  const payloads: string[] = []
  client.on('message', (_topic, payload) => payloads.push(payload.toString()))
  await client.subscribeAsync(filter, { qos: 1 })
  return payloads
}

/** Waits for `condition`; the test times out where it never holds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await wait(20)
}
