/** A broker on a disk that can be made sick, and what clients may expect of it then. */
import { spawnSync } from 'node:child_process'
import { closeSync, openSync, readdirSync, rmdirSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { askBroker } from '../../src/cli/control-client.ts'
import type { AlarmList } from '../../src/ports/alarms.ts'
import { temporaryFolder } from '../power-cut/disk.ts'
import { Peer } from '../power-cut/peer.ts'
import { shimEnv } from '../power-cut/shim.ts'
import { Node } from '../power-cut/workload.ts'

const quotaExceeded = 0x97

export class World {
  readonly dataDir: string
  readonly #folder: string
  readonly #env: NodeJS.ProcessEnv
  readonly #faultFile: string
  node!: Node
  publisher!: Peer
  /** Acknowledgements come in order, so a second publisher is refused while the first one waits. */
  other!: Peer
  /** Speaks 3.1.1. */
  old!: Peer
  live!: Peer

  private constructor(folder: string, dataDir: string, env: NodeJS.ProcessEnv) {
    this.#folder = folder
    this.dataDir = dataDir
    this.#faultFile = join(folder, 'fault')
    this.#env = { ...shimEnv({ folder: dataDir, faultFile: this.#faultFile }), ...env }
  }

  /** A broker with a durable session on `d` whose client is away, a live one on `live`, and a publisher. */
  static async start(t: Test, given: { dataDir?: string; env?: NodeJS.ProcessEnv } = {}): Promise<World> {
    const world = await World.make(t, given)
    await world.start()
    const away = await Peer.connect(world.node.port, 'away')
    await away.subscribe('d', 1)
    away.close()
    return world
  }

  /** The same without the durable session: nothing can be stored. */
  static async startFull(t: Test, given: { dataDir: string; env: NodeJS.ProcessEnv }): Promise<World> {
    const world = await World.make(t, given)
    await world.start('full')
    return world
  }

  private static async make(t: Test, given: { dataDir?: string; env?: NodeJS.ProcessEnv }): Promise<World> {
    const folder = temporaryFolder()
    const { dataDir = join(folder, 'data'), env = {} } = given
    const world = new World(folder, dataDir, env)
    world.fault('none')
    t.teardown(async () => {
      // A broker whose store is deleted would put it back.
      await world.node.end('SIGKILL')
      rmSync(folder, { recursive: true })
    })
    return world
  }

  get database(): string {
    return join(this.dataDir, 'tidegate.db')
  }

  async start(disk: 'well' | 'full' = 'well'): Promise<void> {
    this.node = await Node.start(this.#folder, this.dataDir, this.#env)
    this.publisher = await Peer.connect(this.node.port, 'publisher', 5)
    this.other = await Peer.connect(this.node.port, 'other', 5)
    this.old = await Peer.connect(this.node.port, 'old')
    this.live = await Peer.connect(this.node.port, 'live')
    const subscribed = this.live.subscribe('live', 0)
    // It takes effect at once; its answer waits for the disk.
    if (disk === 'well') await subscribed
    else subscribed.catch(() => undefined)
  }

  async restart(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.node.end(signal)
    await this.start()
  }

  fault(words: string): void {
    writeFileSync(this.#faultFile, words)
  }

  async alarms(): Promise<AlarmList> {
    return (await askBroker(this.dataDir, 'GET', '/alarms')) as AlarmList
  }

  async alarmBegins(name: string): Promise<void> {
    while (!(await this.alarms()).active.some((alarm) => alarm.name === name)) await sleep(50)
  }

  async alarmEnds(name: string): Promise<void> {
    while ((await this.alarms()).active.some((alarm) => alarm.name === name)) await sleep(50)
  }

  /** A durable message is acknowledged. */
  async taken(id: number): Promise<void> {
    this.publisher.publish('d', `m${id}`, 1, id)
    await this.publisher.until(() => this.publisher.answers.get(id) === 0)
  }

  /** Durable messages are, and QoS 0 flows. @param id of one that nobody used */
  async refused(id: number): Promise<void> {
    this.other.publish('d', `m${id}`, 1, id)
    await this.other.until(() => this.other.answers.get(id) === quotaExceeded)
    this.other.publish('live', `flows ${id}`, 0)
    await this.live.until(() => this.live.received.some(({ payload }) => payload === `flows ${id}`))
  }

  /** Begins an outage and holds the broker to what it promises meanwhile. */
  async outage(alarm: string, begin: () => void): Promise<void> {
    await this.taken(1)
    begin()
    // Taken before anybody knew: it waits for the disk.
    this.publisher.publish('d', 'm2'.padEnd(60_000, '.'), 1, 2)
    await this.alarmBegins(alarm)
    this.other.publish('d', 'm3', 1, 3)
    await this.other.until(() => this.other.answers.get(3) === quotaExceeded)
    this.old.publish('d', 'm4', 1, 4)
    this.old.publish('live', 'flows', 0)
    await this.live.until(() => this.live.received.some(({ payload }) => payload === 'flows'))
    if (this.old.answers.has(4) || this.publisher.answers.has(2)) throw new Error('acknowledged without a disk')
  }

  /** Ends it, and sees that everything goes on and nothing that was acknowledged is lost. */
  async recovery(alarm: string, end: () => void): Promise<void> {
    end()
    await this.publisher.until(() => this.publisher.answers.get(2) === 0)
    await this.alarmEnds(alarm)
    await this.taken(5)
    await this.restart()
    const received = (await this.waiting(3)).map((payload) => payload.slice(0, 2))
    if (received.join() !== 'm1,m2,m5') throw new Error(`received ${received}`)
  }

  async publishUntilRefused(): Promise<void> {
    for (let id = 1; ; id++) {
      this.publisher.publish('d', 'x'.repeat(1000), 1, id)
      await this.publisher.until(() => this.publisher.answers.has(id))
      if (this.publisher.answers.get(id) === quotaExceeded) return
      await sleep(100)
    }
  }

  async fillLog(count: number): Promise<void> {
    // Before 5.0 the broker holds a publisher back by not reading on.
    for (let id = 1; id <= count; id++) this.old.publish('d', `m${id}`.padEnd(500), 1, id)
    await this.old.until(() => this.old.answers.size >= count)
  }

  /** What the session that was away gets: at least `count` messages, and what comes right after them. */
  async waiting(count: number): Promise<string[]> {
    const away = await Peer.connect(this.node.port, 'away')
    await away.until(() => away.received.length >= count)
    for (let before = -1; before !== away.received.length; ) {
      before = away.received.length
      await sleep(1500)
    }
    away.close()
    return away.received.map(({ payload }) => payload.trim())
  }
}

export function asides(world: World): string[] {
  return readdirSync(world.dataDir).filter((name) => name.includes('.corrupt-') && !name.endsWith('-wal'))
}

export function scribble(path: string, offset: number, byteCount: number): void {
  const file = openSync(path, 'r+')
  writeSync(file, Buffer.alloc(byteCount, 0xa5), 0, byteCount, offset - (offset % 4096))
  closeSync(file)
}

/** Until nothing more fits. */
export function fill(path: string): void {
  const file = openSync(path, 'w')
  try {
    for (;;) writeSync(file, Buffer.alloc(4096))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  } finally {
    closeSync(file)
  }
}

/** A file system of its own in memory; undefined, with a comment, where that is not allowed. */
export function mountSmall(t: Test, size: string): string | undefined {
  const folder = temporaryFolder()
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder])
  if (status !== 0) {
    rmdirSync(folder)
    t.comment('left out: needs the right to mount a file system')
    return undefined
  }
  t.teardown(() => {
    spawnSync('umount', ['-l', folder])
    rmdirSync(folder)
  })
  return folder
}

export function sleep(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs))
}
