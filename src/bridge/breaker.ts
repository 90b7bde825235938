/**
 * Ends circles that leave no trace: the same message, by topic and payload, that comes in over one bridge and goes out
 * over another again and again, ours or one of mosquitto. A few times are chance; more within ten seconds are a circle,
 * and then the message is held until it has been quiet for as long. Messages of other clients do not count, so that a
 * device may repeat itself; whether they bring back what went out is seen by echoes.ts.
 */
import type { Clock } from '../ports/clock.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import { Echoes } from './echoes.ts'
import { digestOfPayload } from './payload-digest.ts'

/** So often within the window it may pass. */
const passCountMax = 5

const windowMs = 10_000

/** Messages that are remembered; beyond it the oldest is forgotten. */
const messageCountMax = 4096

type Passes = { count: number; lastMs: number; firstMs: number }

export class Breaker {
  readonly #clock: Clock
  readonly #isRelay: (clientId: string) => boolean
  readonly #onTripped: (message: Publish) => void
  readonly #passes = new Map<string, Passes>()

  readonly #echoes: Echoes
  #heldAtMs = Number.NEGATIVE_INFINITY

  /**
   * @param isRelay the client is a bridge
   * @param onTripped called once for each message that is held from now on
   */
  constructor(clock: Clock, isRelay: (clientId: string) => boolean, onTripped: (message: Publish) => void) {
    this.#clock = clock
    this.#isRelay = isRelay
    this.#onTripped = onTripped
    this.#echoes = new Echoes(clock, onTripped)
  }

  /** @returns false when `message` has to end here */
  lets(message: Publish): boolean {
    if (!this.#isRelay(message.publisher)) return this.#isNoEcho(message)
    const key = `${message.topic}\n${digestOfPayload(message)}`
    const nowMs = this.#clock.nowMs()
    const passes = this.#passes.get(key)
    if (passes === undefined || isOver(passes, nowMs)) {
      this.#remember(key, { count: 1, firstMs: nowMs, lastMs: nowMs })
      return true
    }
    passes.count++
    passes.lastMs = nowMs
    if (passes.count === passCountMax + 1) this.#onTripped(message)
    if (passes.count > passCountMax) this.#heldAtMs = nowMs
    return passes.count <= passCountMax
  }

  #isNoEcho(message: Publish): boolean {
    if (message.publisher === '' || this.#echoes.lets(message)) return true
    this.#heldAtMs = this.#clock.nowMs()
    return false
  }

  /** Nothing that was held would still be. */
  get isQuiet(): boolean {
    return this.#clock.nowMs() - this.#heldAtMs > windowMs
  }

  #remember(key: string, passes: Passes): void {
    this.#passes.delete(key)
    this.#passes.set(key, passes)
    if (this.#passes.size <= messageCountMax) return
    for (const oldest of this.#passes.keys()) {
      this.#passes.delete(oldest)
      break
    }
  }
}

/** A message that is held is let go when it was quiet; others when their window ends. */
function isOver({ count, firstMs, lastMs }: Passes, nowMs: number): boolean {
  return nowMs - (count > passCountMax ? lastMs : firstMs) > windowMs
}
