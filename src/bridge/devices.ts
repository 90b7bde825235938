/**
 * The clients of this broker as the broker above is told of them: who is here, who was. It learns from what the broker
 * publishes about its clients, so that it knows those that came since the start.
 */
import type { Clock } from '../ports/clock.ts'
import type { LocalBroker, LocalConsumer } from '../ports/local.ts'
import type { Publish } from '../protocol/packets/publish.ts'

/** Beyond it those that left longest ago are forgotten. */
const deviceCountMax = 1000

/** Many come and go at once; they are told together. */
const gatherMs = 1000

export class DeviceList implements LocalConsumer {
  readonly #clock: Clock
  readonly #devices = new Map<string, 'online' | 'offline'>()
  readonly #listeners = new Set<() => void>()
  #isGathering = false
  readonly canTake = true

  /** @param nodeName the level of this broker below `$SYS/brokers` */
  constructor(parts: { local: LocalBroker; clock: Clock; nodeName: string }) {
    this.#clock = parts.clock
    const session = parts.local.openSession('$devices', this)
    session.subscribe(
      ['connected', 'disconnected'].map((event) => ({
        topicFilter: `$SYS/brokers/${parts.nodeName}/clients/+/${event}`,
        qos: 0,
        noLocal: false,
        retainAsPublished: false,
        retainHandling: 2,
      })),
    )
    session.attach(1)
  }

  /** Calls `listener` when the list changed, not more often than once a second, until the answered function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** @example '{"pump-1":"online","pump-2":"offline"}' */
  toJson(): string {
    return JSON.stringify(Object.fromEntries(this.#devices))
  }

  deliver(message: Publish): void {
    const { clientid } = JSON.parse(message.payload.toString()) as { clientid: string }
    this.#devices.delete(clientid)
    this.#devices.set(clientid, message.topic.endsWith('/connected') ? 'online' : 'offline')
    if (this.#devices.size > deviceCountMax) this.#forgetOne()
    if (this.#isGathering) return
    this.#isGathering = true
    this.#clock.after(gatherMs, () => {
      this.#isGathering = false
      for (const listener of this.#listeners) listener()
    })
  }

  onDurable(): void {
    // Nothing is published from here.
  }

  #forgetOne(): void {
    for (const [clientId, state] of this.#devices) {
      if (state === 'online') continue
      this.#devices.delete(clientId)
      return
    }
    const oldest = this.#devices.keys().next().value
    if (oldest !== undefined) this.#devices.delete(oldest)
  }
}
