/**
 * When a bridge connects, in mosquitto's terms (start_type). automatic and once connect at the start; what happens
 * after a loss is the uplink's. lazy waits until enough messages wait, and leaves again when nothing has passed for a
 * while.
 */
import type { Clock, Timer } from '../ports/clock.ts'

export interface StarterSettings {
  readonly startType: 'automatic' | 'lazy' | 'once'
  /** lazy: so many messages that wait make it connect. */
  readonly threshold: number
  /** lazy: so long without a message, and it leaves. */
  readonly idleTimeoutSeconds: number
}

/** What the starter sees of its bridge. */
export interface Startable {
  readonly isStopped: boolean
  readonly backlogCount: number
  /** Rises with every message, either way. */
  readonly messageCount: number
  connect(): void
  disconnect(): void
}

const lookMs = 500

export class Starter {
  readonly #settings: StarterSettings
  readonly #clock: Clock
  readonly #bridge: Startable
  #timer: Timer | undefined
  #seenCount = 0
  #busyAtMs = 0

  constructor(settings: StarterSettings, clock: Clock, bridge: Startable) {
    this.#settings = settings
    this.#clock = clock
    this.#bridge = bridge
  }

  start(): void {
    if (this.#settings.startType === 'lazy') this.#look()
    else this.#bridge.connect()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#bridge.disconnect()
  }

  #look(): void {
    this.#timer = this.#clock.after(lookMs, () => this.#look())
    const { isStopped, backlogCount, messageCount } = this.#bridge
    const nowMs = this.#clock.nowMs()
    if (isStopped) {
      if (backlogCount < this.#settings.threshold) return
      this.#busyAtMs = nowMs
      this.#bridge.connect()
    } else if (messageCount !== this.#seenCount || backlogCount > 0) {
      this.#seenCount = messageCount
      this.#busyAtMs = nowMs
    } else if (nowMs - this.#busyAtMs >= this.#settings.idleTimeoutSeconds * 1000) {
      this.#bridge.disconnect()
    }
  }
}
