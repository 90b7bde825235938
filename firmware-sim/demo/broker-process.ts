/** A Tidegate process as a user starts it: the built command with a configuration file, its log in a file. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const command = fileURLToPath(new URL('../../src/cli/tidegate', import.meta.url))

/** On a machine with better things to do; whoever wants it quicker looks at what `start` resolves with. */
const listenMsMax = 90_000

export class BrokerProcess {
  readonly logPath: string
  readonly #args: readonly string[]
  readonly #port: number
  #child: ChildProcess | undefined

  /** @param port a TCP port on loopback that it listens on once it is up */
  constructor(profile: 'edge' | 'cloud', configPath: string, logPath: string, port: number) {
    this.#args = [profile, '--config', configPath]
    this.logPath = logPath
    this.#port = port
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Resolves with the milliseconds from the start until it listens. */
  async start(): Promise<number> {
    const log = openSync(this.logPath, 'a')
    const startedAtMs = performance.now()
    const child = spawn(command, this.#args, { stdio: ['ignore', log, log] })
    closeSync(log)
    this.#child = child
    while (performance.now() - startedAtMs < listenMsMax && child.exitCode === null) {
      if (await answers(this.#port)) return performance.now() - startedAtMs
      await wait(5)
    }
    const lastLine = readFileSync(this.logPath, 'utf8').trimEnd().split('\n').at(-1)
    const what = child.exitCode === null ? 'does not listen' : `ended with exit code ${child.exitCode}`
    throw new Error(`${this.#args.join(' ')} ${what}; see ${this.logPath}: ${lastLine}`)
  }

  /** Ends it in an instant, as the loss of power would end it. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Resolves with the exit code. */
  async stop(): Promise<number | null> {
    return this.#end('SIGTERM')
  }

  /** Resident memory in MB. */
  residentMegabytes(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    child.kill(signal)
    return ended
  }
}

/** Runs the built command to its end. Rejects with what it printed when it fails. */
export async function runCommand(args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  const keep = (text: Buffer) => {
    printed += text.toString()
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  if (code !== 0) throw new Error(`tidegate ${args.join(' ')}: ${printed.trim()}`)
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
