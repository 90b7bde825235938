/**
 * A node that listens: its heartbeat, what it takes over on SIGHUP, and the order in which it ends. Parts close from
 * the outside in, so that nothing writes to a store that is closed.
 */
import { isDeepStrictEqual } from 'node:util'
import { YoungGeneration } from '../adapters/system/young-generation.ts'
import type { ControlSocket } from '../admin/control-socket.ts'
import type { Broker } from '../broker/broker.ts'
import type { Settings } from '../config/settings.ts'
import type { RootLog } from '../ports/log.ts'
import type { Store } from '../ports/store.ts'
import type { Methods } from './authentication.ts'
import type { BridgeSet } from './bridges.ts'
import type { Listeners } from './listeners.ts'

const tickMs = 100

/** How long clients may take to read what they are told at the end. */
const goodbyeMs = 1500

export interface NodeParts {
  readonly settings: Settings
  readonly log: RootLog
  readonly store: Store
  readonly broker: Broker
  /** undefined when it could not be opened. */
  readonly control: ControlSocket | undefined
  readonly listeners: Listeners
  readonly methods: Methods
  readonly bridges: BridgeSet
  readonly serials: readonly { start(): void; stop(): Promise<void> }[]
}

export class RunningNode {
  readonly #parts: NodeParts
  readonly #ticker: NodeJS.Timeout
  readonly #youngGeneration = new YoungGeneration()
  /** What it was started with. */
  readonly #settings: Settings

  /** Starts everything that was made. */
  constructor(parts: NodeParts) {
    this.#parts = parts
    this.#settings = parts.settings
    this.#ticker = setInterval(() => this.#tick(), tickMs)
    for (const bridge of parts.bridges.all) bridge.start()
    for (const serial of parts.serials) serial.start()
  }

  /**
   * Takes over the log level, the content of certificate and user files and the bridges; answers what needs a restart.
   * Rejects with a Failure where a file cannot be used.
   */
  async reload(settings: Settings): Promise<readonly string[]> {
    const { log, listeners, methods, bridges } = this.#parts
    // The settings were read in a thread.
    this.#youngGeneration.hold()
    log.level = settings.log.level
    listeners.reload()
    methods.reload()
    await bridges.reload(settings.bridges)
    const sections = Object.keys(settings) as (keyof Settings)[]
    return sections.filter((key) => {
      return key !== 'log' && key !== 'bridges' && !isDeepStrictEqual(settings[key], this.#settings[key])
    })
  }

  #tick(): void {
    const { broker } = this.#parts
    broker.tick()
    this.#youngGeneration.follow(broker.counters.receivedMessages + broker.counters.sentMessages)
  }

  async stop(): Promise<void> {
    const { control, listeners, bridges, broker, serials, store } = this.#parts
    await control?.close()
    await listeners.close()
    for (const bridge of bridges.all) bridge.stop()
    broker.stop()
    await Promise.all([...serials.map((serial) => serial.stop()), this.#everybodyLeft()])
    clearInterval(this.#ticker)
    await store.close()
  }

  async #everybodyLeft(): Promise<void> {
    const { broker } = this.#parts
    const deadline = performance.now() + goodbyeMs
    while (broker.counters.connectionCount > 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
}
