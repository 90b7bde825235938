/** Two brokers with a bridge from one to the other, each a process with files that outlive it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort } from '../../../firmware-sim/free-port.ts'
import { askBroker } from '../../../src/cli/control-client.ts'
import type { BridgeStatus } from '../../../src/ports/bridge-status.ts'
import { type BrokerName, command, isReachable, mosquitto } from '../brokers.ts'

export class Pair {
  readonly name: BrokerName
  readonly edge: Station
  readonly cloud: Station
  readonly #folder: string

  private constructor(name: BrokerName, folder: string, edge: Station, cloud: Station) {
    this.name = name
    this.#folder = folder
    this.edge = edge
    this.cloud = cloud
  }

  /** @param bridgePort where the bridge goes; the listener of the cloud for it unless given */
  static async make(name: BrokerName, via?: (cloudPort: number) => Promise<number>): Promise<Pair> {
    const folder = mkdtempSync(join(tmpdir(), `bench-bridge-${name}-`))
    const [edgePort, cloudPort, gatewayPort] = [await freePort(), await freePort(), await freePort()]
    const remotePort = via === undefined ? gatewayPort : await via(gatewayPort)
    const write = name === 'tidegate' ? writeTidegate : writeMosquitto
    const edge = new Station(join(folder, 'edge'), edgePort)
    const cloud = new Station(join(folder, 'cloud'), cloudPort)
    write({ edge, cloud, gatewayPort, remotePort })
    return new Pair(name, folder, edge, cloud)
  }

  async remove(): Promise<void> {
    await this.edge.kill()
    await this.cloud.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

export class Station {
  readonly folder: string
  readonly port: number
  args: readonly string[] = []
  #child: ChildProcess | undefined

  constructor(folder: string, port: number) {
    this.folder = folder
    this.port = port
    mkdirSync(join(folder, 'data'), { recursive: true })
  }

  get dataDir(): string {
    return join(this.folder, 'data')
  }

  get logPath(): string {
    return join(this.folder, 'log')
  }

  /** Resolves once it listens. */
  async start(): Promise<void> {
    const [file = '', ...args] = this.args
    const child = spawn('sh', ['-c', `exec "$@" 2>>"${this.logPath}"`, 'sh', file, ...args], { stdio: 'ignore' })
    this.#child = child
    if (!(await isReachable(child, this.port))) throw new Error(`${file} does not listen: ${this.log.slice(-500)}`)
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }

  async kill(): Promise<void> {
    await this.stop('SIGKILL')
  }

  get log(): string {
    return readFileSync(this.logPath, 'utf8')
  }

  /** Of all its threads: says what a message costs also when the machine has other work. */
  cpuSeconds(): number {
    const fields = readFileSync(`/proc/${this.#child?.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) / 100
  }

  residentMegabytes(): number {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.#child?.pid}/status`, 'utf8'))?.[1]) / 1024
  }

  /** Tidegate only. It listens a moment before it can be asked. */
  async bridge(): Promise<BridgeStatus> {
    const path = join(this.dataDir, 'control.sock')
    for (let tries = 0; !existsSync(path) && tries < 100 && this.#child?.exitCode === null; tries++) await wait(100)
    const [status] = (await askBroker(this.dataDir, 'GET', '/bridge')) as BridgeStatus[]
    if (status === undefined) throw new Error('the broker has no bridge')
    return status
  }

  /** Tidegate only: what is in the ledger, by reason. */
  async losses(): Promise<Readonly<Record<string, number>>> {
    const { countByReason } = (await askBroker(this.dataDir, 'GET', '/loss')) as {
      countByReason: Readonly<Record<string, number>>
    }
    return countByReason
  }
}

interface Place {
  readonly edge: Station
  readonly cloud: Station
  readonly gatewayPort: number
  readonly remotePort: number
}

/** As it ships; only the bounds of what waits are raised, and topics below `live/lane` are commands. */
function writeTidegate({ edge, cloud, gatewayPort, remotePort }: Place): void {
  const bounds = `[store]\nbacklog_count_max = 100000000\nbacklog_bytes_max = 17179869184\n`
  // So that a subscriber above that is slow for a moment is waited for, as with mosquitto.
  const waits = `[mqtt]\nqueue_count_max = 1000000\n`
  const listener = (port: number) => `[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:${port}"\n`
  writeFileSync(
    join(cloud.folder, 'toml'),
    `data_dir = "${cloud.dataDir}"\n${bounds}${waits}${listener(cloud.port)}${listener(gatewayPort)}gateways = true\n`,
  )
  writeFileSync(
    join(edge.folder, 'toml'),
    `data_dir = "${edge.dataDir}"\n${bounds}${listener(edge.port)}
[[topic]]
filter = "live/lane"
lane = "control"

[[bridge]]
name = "up"
address = "tcp://127.0.0.1:${remotePort}"
reconnect_min_ms = 100
reconnect_max_ms = 500
`,
  )
  cloud.args = [command, 'cloud', '--config', join(cloud.folder, 'toml')]
  edge.args = [command, 'edge', '--config', join(edge.folder, 'toml')]
}

/** Its limits are lifted, else it would drop what the load sends. */
function writeMosquitto({ edge, cloud, gatewayPort, remotePort }: Place): void {
  const common = (station: Station) =>
    [
      `listener ${station.port} 127.0.0.1`,
      'allow_anonymous true',
      'persistence true',
      `persistence_location ${station.dataDir}/`,
      'max_queued_messages 0',
      'max_queued_bytes 0',
      'max_inflight_messages 100',
      `user ${userInfo().username}`,
      'log_type error',
    ].join('\n')
  writeFileSync(join(cloud.folder, 'conf'), `${common(cloud)}\nlistener ${gatewayPort} 127.0.0.1\n`)
  const bridge = [
    'connection up',
    `address 127.0.0.1:${remotePort}`,
    'topic # out 1',
    'cleansession false',
    'restart_timeout 1',
    'bridge_protocol_version mqttv50',
  ].join('\n')
  writeFileSync(join(edge.folder, 'conf'), `${common(edge)}\n${bridge}\n`)
  for (const station of [edge, cloud]) station.args = [mosquitto as string, '-c', join(station.folder, 'conf')]
}
