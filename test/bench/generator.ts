/** Runs load.c, which is compiled for each bench. */
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { RunningBroker } from './brokers.ts'
import type { Figure, Workload } from './workloads.ts'

const source = fileURLToPath(new URL('load.c', import.meta.url))

/** `missing`: messages that never arrived. `filtersNotMade`: subscriptions that took the broker too long. */
export type Measured = Readonly<Partial<Record<Figure | 'missing' | 'filtersNotMade', number>>>

export class Generator {
  readonly #folder = mkdtempSync(join(tmpdir(), 'bench-load-'))

  readonly hasTls: boolean

  constructor() {
    const tls = ['-DWITH_TLS', '-lssl', '-lcrypto']
    this.hasTls = spawnSync('cc', ['-O2', '-o', this.#file, source, ...tls], { stdio: 'ignore' }).status === 0
    if (this.hasTls) return
    try {
      execFileSync('cc', ['-O2', '-o', this.#file, source], { stdio: 'inherit' })
    } catch (error) {
      this.remove()
      const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
      throw isMissing ? new Error('the bench needs a C compiler: apt-get install build-essential') : error
    }
  }

  /** @param seconds how long is measured; a workload may have a time of its own */
  async measure(broker: RunningBroker, { load, carrier }: Workload, seconds: number): Promise<Measured> {
    const args = ['-t', `${seconds}`, ...load, '-T', carrier, '-p', `${broker.port}`, '-b', `${broker.pid}`]
    const { stdout } = await promisify(execFile)(this.#file, args)
    return JSON.parse(stdout)
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  get #file(): string {
    return join(this.#folder, 'load')
  }
}
