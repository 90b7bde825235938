/**
 * Response topics that are called otherwise on the other side of a bridge because no rule takes them across: each has a
 * token for as long as an answer may come. In memory: a request whose answer comes after a restart has to be sent again.
 */
import type { Clock } from '../ports/clock.ts'

/** An answer that takes longer finds its topic forgotten. */
const keptMs = 600_000

/** Beyond it the one that was asked for longest ago is forgotten. */
const topicCountMax = 1000

interface Entry {
  readonly topic: string
  untilMs: number
}

export class ResponseTable {
  readonly #clock: Clock
  /** No token of an earlier run is given again. */
  readonly #run: string
  #count = 0
  /** By token, the one that was asked for longest ago first. */
  readonly #entries = new Map<string, Entry>()
  readonly #tokens = new Map<string, string>()

  constructor(clock: Clock) {
    this.#clock = clock
    this.#run = Math.floor(clock.nowMs()).toString(36)
  }

  /** The same topic keeps its token while it is in use. */
  tokenFor(topic: string): string {
    const token = this.#tokens.get(topic) ?? `${this.#run}-${(++this.#count).toString(36)}`
    this.#tokens.set(topic, token)
    this.#entries.delete(token)
    this.#entries.set(token, { topic, untilMs: this.#clock.nowMs() + keptMs })
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= topicCountMax && entry.untilMs > this.#clock.nowMs()) break
      this.#entries.delete(oldest)
      this.#tokens.delete(entry.topic)
    }
    return token
  }

  /** undefined when it was never given, or too long ago. */
  topicOf(token: string): string | undefined {
    const entry = this.#entries.get(token)
    return entry !== undefined && entry.untilMs > this.#clock.nowMs() ? entry.topic : undefined
  }
}
