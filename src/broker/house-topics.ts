/**
 * What the broker publishes by itself, QoS 0: events, and last values that new subscribers get as retained messages.
 * The values are in memory only: to write down every minute what is out of date after a restart would wear a flash
 * card for nothing.
 */
import type { HouseVoice } from '../ports/local.ts'
import { Publish } from '../protocol/packets/publish.ts'
import type { PublishPath } from './publish.ts'
import type { RetainedTable } from './retained.ts'
import type { Router } from './router.ts'

export class HouseTopics implements HouseVoice {
  readonly #router: Router
  readonly #retained: RetainedTable
  readonly #publishPath: PublishPath
  readonly #valueTopics = new Set<string>()

  constructor(parts: { router: Router; retained: RetainedTable; publishPath: PublishPath }) {
    this.#router = parts.router
    this.#retained = parts.retained
    this.#publishPath = parts.publishPath
  }

  /** How many of the retained messages are ours. */
  get valueCount(): number {
    return this.#valueTopics.size
  }

  /** A value that stays until the next one. */
  tell(topic: string, payload: string): void {
    const message = Publish.create({ topic, payload })
    this.#valueTopics.add(topic)
    this.#retained.show(message)
    this.#publishPath.announce(message)
  }

  say(topic: string, payload: () => Uint8Array): void {
    if (this.#router.match(topic).length === 0) return
    this.#publishPath.announce(Publish.create({ topic, payload: payload() }))
  }

  /** Something that happened. @param facts called only when somebody listens: thousands may come at once */
  announce(topic: string, facts: () => object): void {
    if (this.#router.match(topic).length === 0) return
    this.#publishPath.announce(Publish.create({ topic, payload: JSON.stringify(facts()) }))
  }
}
