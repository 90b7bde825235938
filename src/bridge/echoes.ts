/**
 * Finds a client that brings back what the bridge sends: a relay of another make in 3.1.1, which carries no path and does
 * not say what it is. It shows by its rhythm: twenty equal messages in ten seconds, under a topic that another client
 * published to first. Then the message is held, which ends a circle at once. Whoever goes on although nothing went out
 * any more is no relay but a device that repeats itself, and is left alone from then on.
 *
 *   passing --20 within 10 s--> held --again after 2 s--> trusted        held --10 s quiet--> passing
 */
import type { Clock } from '../ports/clock.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import { digestOfPayload } from './payload-digest.ts'

const passCountMax = 20
const windowMs = 10_000

/** What was under way when a message was held has come back by then. */
const underWayMs = 2000

/** Topics, and messages, that are remembered; beyond it the oldest is forgotten. */
const countMax = 4096

type Passes = { count: number; firstMs: number; lastMs: number; heldSinceMs: number }

export class Echoes {
  readonly #clock: Clock
  readonly #onHeld: (message: Publish) => void
  /** By topic, who published to it first: as a rule the only one, whose messages are not looked at any closer. */
  readonly #publishers = new Map<string, string>()
  readonly #passes = new Map<string, Passes>()

  /** @param onHeld called once for each message that is held from now on */
  constructor(clock: Clock, onHeld: (message: Publish) => void) {
    this.#clock = clock
    this.#onHeld = onHeld
  }

  /** @returns false when `message` has to end here */
  lets(message: Publish): boolean {
    const { topic, publisher } = message
    const known = this.#publishers.get(topic)
    if (known === publisher) return true
    if (known !== undefined) return this.#isNoEcho(message)
    remember(this.#publishers, topic, publisher)
    return true
  }

  #isNoEcho(message: Publish): boolean {
    const { topic, publisher } = message
    const nowMs = this.#clock.nowMs()
    const key = `${publisher}\n${topic}\n${digestOfPayload(message)}`
    const passes = this.#passes.get(key)
    if (passes === undefined || isOver(passes, nowMs)) {
      remember(this.#passes, key, { count: 1, firstMs: nowMs, lastMs: nowMs, heldSinceMs: Number.POSITIVE_INFINITY })
      return true
    }
    passes.count++
    passes.lastMs = nowMs
    if (passes.count <= passCountMax) return true
    if (passes.heldSinceMs === Number.POSITIVE_INFINITY) {
      passes.heldSinceMs = nowMs
      this.#onHeld(message)
    }
    if (nowMs - passes.heldSinceMs < underWayMs) return false
    this.#passes.delete(key)
    remember(this.#publishers, topic, publisher)
    return true
  }
}

/** A message that is held is let go when it was quiet; others when their window ends. */
function isOver({ heldSinceMs, firstMs, lastMs }: Passes, nowMs: number): boolean {
  return nowMs - (heldSinceMs === Number.POSITIVE_INFINITY ? firstMs : lastMs) > windowMs
}

function remember<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  map.set(key, value)
  if (map.size <= countMax) return
  for (const oldest of map.keys()) {
    map.delete(oldest)
    break
  }
}
