/**
 * The last retained message of each topic (MQTT 5.0 §3.3.1.3), in memory by level, so that a wildcard filter visits
 * only the branches it names. Every change is written through to the store.
 */
import type { RetainedStore } from '../ports/store.ts'
import type { Publish } from '../protocol/packets/publish.ts'

type Level = { message: Publish | undefined; children: Map<string, Level> | undefined }

export class RetainedTable {
  readonly #store: RetainedStore
  readonly #countMax: number
  readonly #bytesMax: number
  readonly #root: Level = { message: undefined, children: undefined }
  #count = 0
  #byteCount = 0

  /** @param bytesMax of all payloads together */
  constructor(store: RetainedStore, countMax: number, bytesMax: number) {
    this.#store = store
    this.#countMax = countMax
    this.#bytesMax = bytesMax
  }

  get count(): number {
    return this.#count
  }

  /**
   * Keeps `message` for its topic; an empty payload clears the topic instead [MQTT-3.3.1-6] [MQTT-3.3.1-7].
   * @returns false when the table is full; what was retained for the topic stays then
   */
  set(message: Publish): boolean {
    if (message.payloadByteCount === 0) {
      if (this.#clear(message.topic)) this.#store.clear(message.topic)
      return true
    }
    const former = this.#find(message.topic)?.message
    const bytesAfter = this.#byteCount + message.payloadByteCount - (former?.payloadByteCount ?? 0)
    if (bytesAfter > this.#bytesMax || (former === undefined && this.#count >= this.#countMax)) return false
    this.#put(message)
    this.#store.set(message)
    return true
  }

  /** Puts back what the store loaded. */
  restore(message: Publish): void {
    this.#put(message)
  }

  /** The store was replaced by another one: it gets everything that is kept in it. */
  saveAll(): void {
    visitAll(this.#root, true, (message) => this.#store.set(message))
  }

  /** Takes an expired message away. */
  expire(message: Publish): void {
    if (this.#find(message.topic)?.message !== message) return
    this.#clear(message.topic)
    this.#store.clear(message.topic)
  }

  /** Calls `found` with each retained message that `topicFilter` matches. */
  match(topicFilter: string, found: (message: Publish) => void): void {
    visit(this.#root, topicFilter.split('/'), 0, found)
  }

  #put(message: Publish): void {
    let level = this.#root
    for (const name of message.topic.split('/')) {
      level.children ??= new Map()
      let next = level.children.get(name)
      if (next === undefined) {
        next = { message: undefined, children: undefined }
        level.children.set(name, next)
      }
      level = next
    }
    if (level.message === undefined) this.#count++
    else this.#byteCount -= level.message.payloadByteCount
    this.#byteCount += message.payloadByteCount
    level.message = message.own()
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

function visit(level: Level, filter: readonly string[], at: number, found: (message: Publish) => void): void {
  const name = filter[at]
  if (name === undefined) {
    if (level.message !== undefined) found(level.message)
  } else if (name === '#') {
    visitAll(level, at === 0, found)
  } else if (name === '+') {
    for (const [childName, child] of level.children ?? []) {
      if (at > 0 || !childName.startsWith('$')) visit(child, filter, at + 1, found) // [MQTT-4.7.2-1]
    }
  } else {
    const child = level.children?.get(name)
    if (child !== undefined) visit(child, filter, at + 1, found)
  }
}

function visitAll(level: Level, isRoot: boolean, found: (message: Publish) => void): void {
  if (level.message !== undefined) found(level.message)
  for (const [name, child] of level.children ?? []) {
    if (!isRoot || !name.startsWith('$')) visitAll(child, false, found)
  }
}
