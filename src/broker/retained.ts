/**
 * The last retained message of each topic (MQTT 5.0 §3.3.1.3), in memory by level, so that a wildcard filter visits
 * only the branches it names. Every change is written through to the store.
 *
 * Each topic knows when it was set, or deleted, wherever that was (ports/retained.ts): what is older than what is held
 * changes nothing. Deletions are remembered for a while where other brokers may have missed them.
 *
 * A filter may match a million topics, so whoever asks gets a walk that can be left and taken up again while the table
 * changes (retained-feed.ts). What was set after the walk began has a higher change number.
 */
import type { RetainedTopic } from '../ports/retained.ts'
import type { Durability, RetainedStore } from '../ports/store.ts'
import { Publish } from '../protocol/packets/publish.ts'
import { topicMatches } from '../protocol/topic.ts'

/** `change` is the number of the change that set the message. */
type Level = { message: Publish | undefined; change: number; children: Map<string, Level> | undefined }

/** A topic of a walk that has a retained message. */
export type RetainedEntry = { readonly message: Publish; readonly change: number }

export interface RetainedLimits {
  readonly countMax: number
  /** Of all payloads together. */
  readonly bytesMax: number
  /** Of one payload. */
  readonly payloadBytesMax: number
  /** Deletions that are remembered; beyond it the oldest is forgotten. */
  readonly deletedCountMax: number
}

/** How long a deletion is remembered: longer than a gateway is away. */
export const deletedMsMax = 30 * 86_400_000

export class RetainedTable {
  readonly #store: RetainedStore
  readonly #limits: RetainedLimits
  readonly #root: Level = newLevel()
  /** Topics that were deleted, with the time of that; the first to be forgotten first. */
  readonly #deleted = new Map<string, number>()
  #count = 0
  #byteCount = 0
  #lastChange = 0

  constructor(store: RetainedStore, limits: RetainedLimits) {
    this.#store = store
    this.#limits = limits
  }

  get count(): number {
    return this.#count
  }

  get lastChange(): number {
    return this.#lastChange
  }

  /**
   * Keeps `message` for its topic; an empty payload clears the topic instead [MQTT-3.3.1-6] [MQTT-3.3.1-7]. What is
   * older than what is held changes nothing.
   * @returns false when the table is full or the message too large; what was retained for the topic stays then
   */
  set(message: Publish, durability?: Durability): boolean {
    const { topic, changedAtMs = 0 } = message
    const former = this.#find(topic)?.message
    if (changedAtMs < (former?.changedAtMs ?? this.#deleted.get(topic) ?? 0)) return true
    if (message.payloadByteCount === 0) {
      this.#delete(topic, changedAtMs, durability)
      return true
    }
    const bytesAfter = this.#byteCount + message.payloadByteCount - (former?.payloadByteCount ?? 0)
    const { countMax, bytesMax, payloadBytesMax } = this.#limits
    if (bytesAfter > bytesMax || message.payloadByteCount > payloadBytesMax) return false
    if (former === undefined && this.#count >= countMax) return false
    this.#deleted.delete(topic)
    this.#put(message)
    this.#store.set(message, durability)
    return true
  }

  /** Puts back what the store loaded. */
  restore(message: Publish): void {
    if (message.payloadByteCount > 0) this.#put(message)
    else this.#deleted.set(message.topic, message.changedAtMs ?? 0)
  }

  /** Holds a value of the house, in memory only. */
  show(message: Publish): void {
    this.#put(message)
  }

  /** The store was replaced by another one: it gets everything that is kept in it. */
  saveAll(): void {
    for (const entry of visitAll(this.#root, false)) if (entry !== undefined) this.#store.set(entry.message)
    for (const [topic, changedAtMs] of this.#deleted) this.#store.set(deletion(topic, changedAtMs))
  }

  /** Takes an expired message away. */
  expire(message: Publish): void {
    if (this.#find(message.topic)?.message !== message) return
    this.#clear(message.topic)
    this.#store.clear(message.topic)
  }

  /** Calls `found` with each retained message that `topicFilter` matches. */
  match(topicFilter: string, found: (message: Publish) => void): void {
    for (const entry of this.walk(topicFilter)) if (entry !== undefined) found(entry.message)
  }

  /** The matches of `topicFilter`, with undefined for each step that came upon none. */
  walk(topicFilter: string): Generator<RetainedEntry | undefined> {
    return visit(this.#root, topicFilter.split('/'), 0)
  }

  /** The topics that `topicFilter` matches, those that were deleted too, with undefined for each step that came upon none. */
  *history(topicFilter: string): Generator<RetainedTopic | undefined> {
    for (const entry of this.walk(topicFilter)) {
      const message = entry?.message
      yield message && { topic: message.topic, message, changedAtMs: message.changedAtMs ?? 0 }
    }
    for (const [topic, changedAtMs] of this.#deleted) {
      yield topicMatches(topicFilter, topic) ? { topic, message: undefined, changedAtMs } : undefined
    }
  }

  #delete(topic: string, changedAtMs: number, durability: Durability | undefined): void {
    const wasThere = this.#clear(topic)
    if (this.#limits.deletedCountMax === 0) {
      if (wasThere) this.#store.clear(topic, durability)
      return
    }
    // Of what was never here nothing needs to be remembered.
    if (!wasThere && !this.#deleted.has(topic)) return
    this.#deleted.delete(topic)
    this.#deleted.set(topic, changedAtMs)
    this.#store.set(deletion(topic, changedAtMs), durability)
    for (const [oldest, oldestMs] of this.#deleted) {
      if (this.#deleted.size <= this.#limits.deletedCountMax && oldestMs > changedAtMs - deletedMsMax) break
      this.#deleted.delete(oldest)
      this.#store.clear(oldest)
    }
  }

  #put(message: Publish): void {
    let level = this.#root
    for (const name of message.topic.split('/')) {
      level.children ??= new Map()
      let next = level.children.get(name)
      if (next === undefined) {
        next = newLevel()
        level.children.set(name, next)
      }
      level = next
    }
    if (level.message === undefined) this.#count++
    else this.#byteCount -= level.message.payloadByteCount
    this.#byteCount += message.payloadByteCount
    level.message = message.own()
    level.change = ++this.#lastChange
  }

  #find(topic: string): Level | undefined {
    let level: Level | undefined = this.#root
    for (const name of topic.split('/')) level = level?.children?.get(name)
    return level
  }

  #clear(topic: string): boolean {
    const path: { level: Level; name: string }[] = []
    let level = this.#root
    for (const name of topic.split('/')) {
      const next = level.children?.get(name)
      if (next === undefined) return false
      path.push({ level, name })
      level = next
    }
    if (level.message === undefined) return false
    this.#byteCount -= level.message.payloadByteCount
    this.#count--
    level.message = undefined
    for (const step of path.reverse()) {
      const child = step.level.children?.get(step.name)
      if (child === undefined || child.message !== undefined || child.children !== undefined) break
      step.level.children?.delete(step.name)
      if (step.level.children?.size === 0) step.level.children = undefined
    }
    return true
  }
}

/** How a deletion stands in the store. */
function deletion(topic: string, changedAtMs: number): Publish {
  const message = Publish.create({ topic, payload: '', retain: true })
  message.changedAtMs = changedAtMs
  return message
}

function newLevel(): Level {
  return { message: undefined, change: 0, children: undefined }
}

function* visit(level: Level, filter: readonly string[], at: number): Generator<RetainedEntry | undefined> {
  const name = filter[at]
  if (name === undefined) {
    yield entryOf(level)
  } else if (name === '#') {
    yield* visitAll(level, at === 0)
  } else if (name === '+') {
    for (const [childName, child] of level.children ?? []) {
      if (at > 0 || !childName.startsWith('$')) yield* visit(child, filter, at + 1) // [MQTT-4.7.2-1]
    }
  } else {
    const child = level.children?.get(name)
    if (child !== undefined) yield* visit(child, filter, at + 1)
    else yield undefined
  }
}

function* visitAll(level: Level, isRoot: boolean): Generator<RetainedEntry | undefined> {
  yield entryOf(level)
  for (const [name, child] of level.children ?? []) {
    if (!isRoot || !name.startsWith('$')) yield* visitAll(child, false)
  }
}

function entryOf(level: Level): RetainedEntry | undefined {
  return level.message === undefined ? undefined : (level as RetainedEntry)
}
