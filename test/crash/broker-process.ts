/** The built broker as a process that is killed and started again over the same files. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const command = 'src/cli/tidegate'

const config = `
[store]
durability = "disk"

[[listener]]
type = "tcp"
bind = "127.0.0.1:0"
`

export class BrokerProcess {
  readonly #configFile: string
  readonly #dataDir: string
  #child: ChildProcess | undefined
  #isMeantToEnd = false
  /** Where it listens, or listened last. */
  port = 1
  /** Why a run went wrong; undefined while none did. */
  failure: string | undefined

  /** @param folder for its settings and everything it keeps */
  constructor(folder: string) {
    this.#configFile = join(folder, 'edge.toml')
    this.#dataDir = join(folder, 'data')
    writeFileSync(this.#configFile, config)
  }

  /** Starts it without waiting. `port` moves on once it listens; `onListening` is told then. */
  start(onListening: () => void): void {
    this.#isMeantToEnd = false
    const env = { ...process.env, TIDEGATE_DATA_DIR: this.#dataDir }
    const child = spawn(command, ['edge', '--config', this.#configFile], {
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#child = child
    const lastLines: string[] = []
    createInterface({ input: child.stderr }).on('line', (line) => {
      lastLines.push(line)
      if (lastLines.length > 20) lastLines.shift()
      if (!line.includes('listener open')) return
      const { bind } = JSON.parse(line) as { bind: string }
      this.port = Number(bind.slice(bind.lastIndexOf(':') + 1))
      onListening()
    })
    child.once('exit', (code, signal) => {
      if (!this.#isMeantToEnd) this.failure = [`the broker ended by itself: ${code ?? signal}`, ...lastLines].join('\n')
    })
  }

  /** kill -9. Resolves once it is gone. */
  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    this.#isMeantToEnd = true
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
}
