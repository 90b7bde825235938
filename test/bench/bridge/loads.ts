/** The loads of the bench, compiled once: each a process of its own, so that it takes nothing from what it measures. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'

const sources = { store: new URL('../store-load.c', import.meta.url), bridge: new URL('load.c', import.meta.url) }

const livePerSecond = 50

export interface Collected {
  readonly received: number
  readonly distinct: number
  /** Came after a later one of the same topic. */
  readonly late: number
  /** From the first to the last. */
  readonly seconds: number
}

export interface Lived {
  readonly sent: number
  readonly received: number
  readonly p50Us: number
  readonly p99Us: number
}

export interface Relay {
  readonly port: number
  cut(): void
  mend(): void
  end(): void
}

export class Loads {
  readonly #folder = mkdtempSync(join(tmpdir(), 'bench-bridge-load-'))
  readonly #running = new Set<ChildProcess>()

  constructor() {
    try {
      for (const [name, source] of Object.entries(sources)) {
        execFileSync('cc', ['-O2', '-pthread', '-o', join(this.#folder, name), fileURLToPath(source)], {
          stdio: 'inherit',
        })
      }
    } catch (error) {
      this.remove()
      const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
      throw isMissing ? new Error('the bench needs a C compiler: apt-get install build-essential') : error
    }
  }

  /** QoS 1, 64 bytes, from 10 clients, as fast as they are acknowledged. */
  async publish(port: number, count: number): Promise<{ acknowledged: number; seconds: number }> {
    return this.#run('store', ['publish', port, count, 10, 64, 3600, 0]).result as Promise<never>
  }

  /**
   * @param quietSeconds gives up when nothing came for so long
   * @returns `begun` resolves when the first message is there
   */
  collect(port: number, count: number, quietSeconds: number): { begun: Promise<void>; all: Promise<Collected> } {
    const { child, result } = this.#run('bridge', ['collect', port, count, quietSeconds])
    const begun = new Promise<void>((resolve) => child.stdout?.once('data', () => resolve()))
    return { begun, all: result as Promise<Collected> }
  }

  /** Until `end` is called. */
  live(from: number, to: number, topic: string): { end(): Promise<Lived> } {
    const { child, result } = this.#run('bridge', ['live', from, to, livePerSecond, topic])
    return {
      end: () => {
        child.kill('SIGTERM')
        return result as Promise<Lived>
      },
    }
  }

  /** A link to a port. While it is cut what is open is closed, and new connections are closed at once. */
  async relay(to: number): Promise<Relay> {
    const { child } = this.#run('bridge', ['relay', to])
    const [port] = await once(child.stdout as Readable, 'data')
    return {
      port: Number(port),
      cut: () => child.kill('SIGUSR1'),
      mend: () => child.kill('SIGUSR2'),
      end: () => child.kill(),
    }
  }

  remove(): void {
    for (const child of this.#running) child.kill('SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #run(
    name: keyof typeof sources,
    args: readonly (string | number)[],
  ): { child: ChildProcess; result: Promise<unknown> } {
    const child = spawn(join(this.#folder, name), args.map(String), { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#running.add(child)
    let printed = ''
    child.stdout.on('data', (text) => {
      printed += text
    })
    const result = new Promise((resolve, reject) => {
      child.once('close', (code) => {
        this.#running.delete(child)
        if (code === 0) resolve(JSON.parse(printed.trimEnd().split('\n').at(-1) ?? ''))
        else reject(new Error(`${name} ${args.join(' ')} ends with ${code}`))
      })
    })
    // Whoever does not wait for it any more has a failure of its own to tell.
    result.catch(() => undefined)
    return { child, result }
  }
}
