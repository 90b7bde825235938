/**
 * A serial cable inside the machine: two ptys joined by `socat`, each under a path that stays the same. Unplugging
 * takes the gateway's tty away like the removal of a USB adapter; replugging brings a new one under the same path.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'

const appearMsMax = 5000
const lookEveryMs = 10

export class PtyPair {
  /** The end that the gateway opens. */
  readonly hostPath: string
  /** The end that the simulated device opens. */
  readonly devicePath: string
  readonly #env: NodeJS.ProcessEnv
  #socat: ChildProcess | undefined

  /**
   * Both paths must be free; they become symbolic links to ptys.
   * @param env where `socat` is looked for
   */
  constructor(hostPath: string, devicePath: string, env = process.env) {
    this.hostPath = hostPath
    this.devicePath = devicePath
    this.#env = env
  }

  /** Resolves once both ends are there. Fails with a message for people when `socat` is missing. */
  async plug(): Promise<void> {
    const ends = [this.hostPath, this.devicePath].map((path) => `pty,raw,echo=0,link=${path}`)
    const socat = spawn('socat', ends, { stdio: ['ignore', 'ignore', 'pipe'], env: this.#env })
    this.#socat = socat
    let trouble = ''
    socat.stderr.on('data', (text: Buffer) => {
      trouble += text.toString()
    })
    socat.on('error', (error: NodeJS.ErrnoException) => {
      const isMissing = error.code === 'ENOENT'
      trouble = isMissing ? 'socat is missing: install the Debian package socat' : error.message
    })
    for (let waitedMs = 0; waitedMs < appearMsMax && trouble === ''; waitedMs += lookEveryMs) {
      if (existsSync(this.hostPath) && existsSync(this.devicePath)) return
      await wait(lookEveryMs)
    }
    await this.unplug()
    throw new Error(trouble.trim() || `socat made no ptys within ${appearMsMax} ms`)
  }

  /** Resolves once both ends are gone; whoever has one open sees it hang up. */
  async unplug(): Promise<void> {
    const socat = this.#socat
    this.#socat = undefined
    // First the links: the number of a pty that is gone may soon belong to somebody else.
    for (const path of [this.hostPath, this.devicePath]) rmSync(path, { force: true })
    if (socat?.pid === undefined || socat.exitCode !== null || socat.signalCode !== null) return
    const exited = new Promise((resolve) => socat.once('exit', resolve))
    socat.kill('SIGKILL')
    await exited
  }

  async replug(): Promise<void> {
    await this.unplug()
    await this.plug()
  }
}
