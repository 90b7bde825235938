/**
 * The proxy of uplink-proxy.ts in a process of its own, so that what it carries does not depend on how busy the
 * process is that plays with it:
 *
 *   const proxy = await ProxyProcess.start({ host: '127.0.0.1', port: 8883 }, seed)
 *   proxy.setFault({ kind: 'latency', delayMs: 200, jitterMs: 50 })
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { SeededRandom } from './seeded-random.ts'
import { type Fault, UplinkProxy } from './uplink-proxy.ts'

interface Target {
  readonly host: string
  readonly port: number
}

type Started = { readonly port: number }
type Command = { readonly start: Target; readonly seed: number; readonly port: number } | { readonly fault: Fault }

export class ProxyProcess {
  readonly port: number
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
  }

  /** @param port on 127.0.0.1; a free one for 0 */
  static async start(target: Target, seed: number, port = 0): Promise<ProxyProcess> {
    const child = fork(fileURLToPath(import.meta.url), ['proxy'], { execArgv: ['--import=tsx'] })
    child.send({ start: target, seed, port } satisfies Command)
    const [started] = (await once(child, 'message')) as [Started]
    return new ProxyProcess(child, started.port)
  }

  setFault(fault: Fault): void {
    this.#child.send({ fault } satisfies Command)
  }

  /** Resets what is open. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}

if (process.argv[2] === 'proxy' && process.argv[1] === fileURLToPath(import.meta.url)) serve()

function serve(): void {
  let proxy: UplinkProxy | undefined
  process.on('message', async (command: Command) => {
    if ('fault' in command) {
      proxy?.setFault(command.fault)
      return
    }
    proxy = new UplinkProxy({ target: command.start, random: new SeededRandom(command.seed) })
    process.send?.({ port: await proxy.listen(command.port) } satisfies Started)
  })
  // Its owner is gone, however it went.
  process.on('disconnect', () => process.exit(0))
}
