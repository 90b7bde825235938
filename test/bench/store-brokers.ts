/** A broker whose files outlive it, for `npm run bench:store`. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../firmware-sim/free-port.ts'
import { askBroker } from '../../src/cli/control-client.ts'
import { type BrokerName, command, isReachable, mosquitto } from './brokers.ts'

const loopDelay = fileURLToPath(new URL('loop-delay.mjs', import.meta.url))

export class StoringBroker {
  readonly name: BrokerName
  readonly folder: string
  port = 0
  #child: ChildProcess | undefined

  constructor(name: BrokerName) {
    this.name = name
    this.folder = mkdtempSync(join(tmpdir(), `bench-store-${name}-`))
    mkdirSync(this.#dataDir)
  }

  get #dataDir(): string {
    return join(this.folder, 'data')
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** @returns ms until it listens */
  async start(): Promise<number> {
    this.port = await freePort()
    const startMs = performance.now()
    const child = this.name === 'tidegate' ? this.#startTidegate() : this.#startMosquitto()
    this.#child = child
    child.stderr?.resume()
    if (!(await isReachable(child, this.port))) throw new Error(`${this.name} does not listen`)
    return performance.now() - startMs
  }

  async stop(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGTERM')
    await gone
  }

  async remove(): Promise<void> {
    await this.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** Group commits so far; Tidegate only. */
  async commitCount(): Promise<number> {
    const status = (await askBroker(this.#dataDir, 'GET', '/status')) as { store: { commits: number } }
    return status.store.commits
  }

  /** 99th percentile of the event loop's delay since the last call, in ms; Tidegate only. */
  async loopDelayMs(): Promise<number> {
    const file = join(this.folder, 'loop-delay')
    rmSync(file, { force: true })
    process.kill(this.pid, 'SIGUSR2')
    for (;;) {
      await setTimeout(20)
      try {
        const text = readFileSync(file, 'utf8')
        if (text !== '') return Number(text)
      } catch {
        // Not written yet.
      }
    }
  }

  /** What it has sent towards the disk, in bytes; pages of the cache that were not written yet count too. */
  writtenBytes(): number {
    return Number(/^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${this.pid}/io`, 'utf8'))?.[1])
  }

  /** Of all its threads: says what a message costs also when the machine has other work. */
  cpuSeconds(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) / 100
  }

  residentBytes(): number {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1]) * 1024
  }

  #startTidegate(): ChildProcess {
    const config = join(this.folder, 'edge.toml')
    writeFileSync(
      config,
      `data_dir = "${this.#dataDir}"\n[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:${this.port}"\n`,
    )
    return spawn(command, ['edge', '--config', config], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, NODE_OPTIONS: `--import=${loopDelay}`, LOOP_DELAY_FILE: join(this.folder, 'loop-delay') },
    })
  }

  #startMosquitto(): ChildProcess {
    const config = join(this.folder, 'mosquitto.conf')
    const lines = [
      `listener ${this.port} 127.0.0.1`,
      'allow_anonymous true',
      'persistence true',
      `persistence_location ${this.#dataDir}/`,
      'max_queued_messages 0',
      'max_queued_bytes 0',
      'max_inflight_messages 100',
      'user root',
    ]
    writeFileSync(config, `${lines.join('\n')}\nlog_type error\n`)
    return spawn(mosquitto as string, ['-c', config], { stdio: ['ignore', 'ignore', 'pipe'] })
  }
}
