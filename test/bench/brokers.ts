/**
 * The brokers that are measured, each a process of its own with settings in a folder of its own. aedes takes part where
 * `npm install --no-save aedes` was run.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createAuthority, issueServerCertificate } from '../../src/adapters/certificates/authority.ts'
import { askBroker } from '../../src/cli/control-client.ts'

export const command = fileURLToPath(new URL('../../src/cli/tidegate', import.meta.url))
export const mosquitto = ['/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto'].find((file) => existsSync(file))
const startLimitMs = 30_000

const aedes = fileURLToPath(new URL('../../node_modules/aedes', import.meta.url))

export type BrokerName = 'tidegate' | 'mosquitto' | 'aedes'
export type Carrier = 'tcp' | 'tls' | 'ws'

/** Tidegate first, then the peers that are installed and can do it. */
export function brokersFor({ carrier, load }: { carrier: Carrier; load: readonly string[] }): BrokerName[] {
  const names: BrokerName[] = ['tidegate']
  if (mosquitto !== undefined) names.push('mosquitto')
  const isMqtt5 = load.includes('-v')
  if (carrier === 'tcp' && !isMqtt5 && existsSync(aedes)) names.push('aedes')
  return names
}

export interface RunningBroker {
  readonly port: number
  readonly pid: number
  /** Messages that it says it did not deliver; Tidegate only. */
  droppedCount(): Promise<number>
  stop(): Promise<void>
}

/** Starts it new, with nothing stored. */
export async function startBroker(name: BrokerName, carrier: Carrier): Promise<RunningBroker> {
  const folder = mkdtempSync(join(tmpdir(), `bench-${name}-`))
  const port = await freePort()
  if (carrier === 'tls') await writeCertificate(folder)
  const child = starters[name](folder, port, carrier)
  const log = collect(child)
  if (!(await isReachable(child, port))) {
    child.kill()
    throw new Error(`${name} does not listen:\n${log.text}`)
  }
  return {
    port,
    pid: child.pid as number,
    async droppedCount() {
      const status = await askBroker(storedIn(folder), 'GET', '/status')
      return (status as { messages: { dropped: number } }).messages.dropped
    },
    async stop() {
      const hasEnded = child.exitCode !== null || child.signalCode !== null
      if (!hasEnded) {
        const exit = once(child, 'exit')
        child.kill()
        await exit
      }
      rmSync(folder, { recursive: true, force: true })
      if (hasEnded) throw new Error(`${name} ended by itself:\n${log.text}`)
    },
  }
}

const starters: Record<BrokerName, (folder: string, port: number, carrier: Carrier) => ChildProcess> = {
  tidegate: startTidegate,
  mosquitto: startMosquitto,
  aedes: startAedes,
}

function storedIn(folder: string): string {
  return join(folder, 'stored')
}

/** As it ships: only where it listens and stores is said. */
function startTidegate(folder: string, port: number, carrier: Carrier): ChildProcess {
  const config = join(folder, 'edge.toml')
  const lines = [
    `data_dir = "${storedIn(folder)}"`,
    '[[listener]]',
    `type = "${carrier}"`,
    `bind = "127.0.0.1:${port}"`,
  ]
  if (carrier === 'tls') {
    lines.push('certificate = "server.crt"', 'private_key = "server.key"')
    lines.push('client_certificate = "none"', 'allow_anonymous = true')
  }
  writeFileSync(config, `${lines.join('\n')}\n`)
  return spawn(command, ['edge', '--config', config], { stdio: ['ignore', 'ignore', 'pipe'] })
}

/** Its queues are opened up, else it would drop what the load sends. */
function startMosquitto(folder: string, port: number, carrier: Carrier): ChildProcess {
  const config = join(folder, 'mosquitto.conf')
  const lines = [
    // 2.0.11 ends at once when all of its listeners are for WebSocket.
    ...(carrier === 'ws' ? [`listener 0 ${join(folder, 'unused.sock')}`] : []),
    `listener ${port} 127.0.0.1`,
    ...(carrier === 'ws' ? ['protocol websockets'] : []),
    'allow_anonymous true',
    'max_queued_messages 0',
    'max_inflight_messages 100',
    `user ${userInfo().username}`,
    ...(carrier === 'tls' ? [`certfile ${folder}/server.crt`, `keyfile ${folder}/server.key`] : []),
  ]
  writeFileSync(config, `${lines.join('\n')}\nlog_type error\n`)
  return spawn(mosquitto as string, ['-c', config], { stdio: ['ignore', 'ignore', 'pipe'] })
}

function startAedes(_folder: string, port: number): ChildProcess {
  const program = `
    import { createServer } from 'node:net'
    import { Aedes } from 'aedes'
    const broker = await Aedes.createBroker()
    createServer(broker.handle).listen(${port}, '127.0.0.1')`
  const cwd = fileURLToPath(new URL('../..', import.meta.url))
  return spawn(process.execPath, ['--input-type=module', '--eval', program], {
    cwd,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}

async function writeCertificate(folder: string): Promise<void> {
  const issued = await issueServerCertificate(await createAuthority(), ['127.0.0.1'])
  writeFileSync(join(folder, 'server.crt'), issued.certificate)
  writeFileSync(join(folder, 'server.key'), issued.privateKey)
}

/** Below the ports that the system gives to clients, so that none of them takes it before the broker does. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    const server = createServer().listen(port, '127.0.0.1')
    const isFree = await new Promise((resolve) => server.once('listening', () => resolve(true)).once('error', resolve))
    if (isFree !== true) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

export async function isReachable(child: ChildProcess, port: number): Promise<boolean> {
  for (const startMs = performance.now(); performance.now() - startMs < startLimitMs; await setTimeout(20)) {
    if (child.exitCode !== null) break
    const socket = connect(port, '127.0.0.1')
    const isOpen = await new Promise((resolve) => socket.once('connect', () => resolve(true)).once('error', resolve))
    socket.destroy()
    if (isOpen === true) return true
  }
  return false
}

/** What it logs is shown only when it does not work. */
function collect(child: ChildProcess): { text: string } {
  const log = { text: '' }
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    log.text += text
  })
  return log
}
