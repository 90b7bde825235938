/**
 * Messages that are due later, `$delayed/{N}/{topic}`: kept from PUBLISH until then in memory and in the store, whatever
 * their QoS, and published as if they had just come. Time is that of the broker's timeline, so restarts and a wall
 * clock that jumps change nothing; what fell due while the broker was down is published when it is up again.
 *
 * Leaving the table and entering the log are one group commit, so a message is not published twice after a crash.
 */
import type { Clock } from '../ports/clock.ts'
import type { DelayedEntry, DelayRecord, DelayStore } from '../ports/delays.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import type { Counters } from './counters.ts'

export interface DelayLimits {
  readonly countMax: number
  readonly countMaxPerClient: number
  /** Of topics and payloads, which are held in memory. */
  readonly bytesMax: number
}

/** Published in one call of `tick`; the others follow in the next. */
const releaseCountMax = 1000

export class DelayedMessages {
  readonly #store: DelayStore
  readonly #clock: Clock
  readonly #counters: Counters
  readonly #limits: DelayLimits
  readonly #byId = new Map<number, DelayRecord>()
  /** By falling due time; among equals the later id first. May hold records that were cancelled. */
  readonly #order: DelayRecord[] = []
  readonly #countByClient = new Map<string, number>()
  #byteCount = 0
  #nextId = 1

  constructor(parts: { store: DelayStore; clock: Clock; counters: Counters; limits: DelayLimits }) {
    this.#store = parts.store
    this.#clock = parts.clock
    this.#counters = parts.counters
    this.#limits = parts.limits
  }

  /** Whether one more of `clientId` may be kept. */
  hasRoom(clientId: string, message: Publish): boolean {
    const { countMax, countMaxPerClient, bytesMax } = this.#limits
    if (this.#byId.size >= countMax || this.#byteCount + byteCountOf(message) > bytesMax) return false
    return (this.#countByClient.get(clientId) ?? 0) < countMaxPerClient
  }

  /** @param message under the topic that it is for */
  add(message: Publish, delayMs: number): void {
    const record = { id: this.#nextId, dueAtMs: this.#clock.nowMs() + delayMs, message: message.own() }
    this.#keep(record)
    this.#store.put(record)
  }

  /** Puts back what the store loaded. */
  restore(record: DelayRecord): void {
    this.#keep(record)
  }

  /** The store was replaced by another one: it gets everything that is kept in it. */
  saveAll(): void {
    for (const record of this.#byId.values()) this.#store.put(record)
  }

  /** @returns false when there is no such message, or no more */
  cancel(id: number): boolean {
    const record = this.#byId.get(id)
    if (record === undefined) return false
    this.#forget(record)
    return true
  }

  /** Those that are due next, the first of them first. */
  list(countMax: number): DelayedEntry[] {
    const nowMs = this.#clock.nowMs()
    const entries: DelayedEntry[] = []
    for (let at = this.#order.length - 1; at >= 0 && entries.length < countMax; at--) {
      const { id, dueAtMs, message } = this.#order[at] as DelayRecord
      if (!this.#byId.has(id)) continue
      const { topic, qos, retain, publisher: clientId, payloadByteCount } = message
      const remainingSeconds = Math.max(0, (dueAtMs - nowMs) / 1000)
      entries.push({ id, topic, qos, retain, clientId, payloadByteCount, remainingSeconds })
    }
    return entries
  }

  /** Hands what is due to `publish`, in order, until that answers false: the message then stays. */
  tick(nowMs: number, publish: (message: Publish) => boolean): void {
    for (let released = 0; released < releaseCountMax; ) {
      const next = this.#order.at(-1)
      if (next === undefined || next.dueAtMs > nowMs) return
      if (this.#byId.has(next.id)) {
        if (!publish(next.message)) return
        this.#forget(next)
        released++
      }
      this.#order.pop()
    }
  }

  #keep(record: DelayRecord): void {
    const { id, dueAtMs, message } = record
    this.#nextId = Math.max(this.#nextId, id + 1)
    this.#byId.set(id, record)
    this.#byteCount += byteCountOf(message)
    this.#countByClient.set(message.publisher, (this.#countByClient.get(message.publisher) ?? 0) + 1)
    this.#counters.delayedCount = this.#byId.size
    let low = 0
    let high = this.#order.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const other = this.#order[middle] as DelayRecord
      if (other.dueAtMs > dueAtMs || (other.dueAtMs === dueAtMs && other.id > id)) low = middle + 1
      else high = middle
    }
    this.#order.splice(low, 0, record)
  }

  #forget({ id, message }: DelayRecord): void {
    this.#byId.delete(id)
    this.#byteCount -= byteCountOf(message)
    const left = (this.#countByClient.get(message.publisher) ?? 1) - 1
    if (left === 0) this.#countByClient.delete(message.publisher)
    else this.#countByClient.set(message.publisher, left)
    this.#counters.delayedCount = this.#byId.size
    this.#store.remove(id)
  }
}

function byteCountOf({ topicStart, topicEnd, payloadByteCount }: Publish): number {
  return topicEnd - topicStart + payloadByteCount
}
