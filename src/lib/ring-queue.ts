/**
 * A first-in first-out queue in a circular array that grows by doubling up to a bound and then refuses. Nothing is
 * allocated per item, taking from the front never moves the rest, and a slot forgets its item as soon as it left. A
 * queue that never had an item has no array: most of those of an idle client never do.
 *
 * Invariant: the items stand at `head`, `head + 1` … `head + length - 1`, each modulo the slot count, which is 0 or a
 * power of two; every other slot is undefined.
 */
import { assert } from './assert.ts'

const slotCountMin = 16

/** Of all queues without an array: never written to, because a full queue grows first. */
const noSlots: undefined[] = []

/** An emptied queue gives its array back when it had grown beyond this. */
const slotCountKept = 1024

export class RingQueue<T> implements Iterable<T> {
  readonly #countMax: number
  #slots: (T | undefined)[] = noSlots
  #head = 0
  #length = 0

  /** @param countMax most items held at once, at least 1 */
  constructor(countMax: number) {
    assert(countMax >= 1, 'a queue that can hold nothing')
    this.#countMax = countMax
  }

  get length(): number {
    return this.#length
  }

  /** false when the queue is full: nothing was added. @example if (!queue.push(item)) countDrop() */
  push(item: T): boolean {
    if (this.#length >= this.#countMax) return false
    if (this.#length === this.#slots.length) this.#grow()
    this.#slots[this.#slotOf(this.#length)] = item
    this.#length++
    return true
  }

  /** Takes the oldest item; undefined when there is none. @example const next = queue.shift() */
  shift(): T | undefined {
    if (this.#length === 0) return undefined
    const item = this.#slots[this.#head]
    this.#slots[this.#head] = undefined
    this.#head = this.#slotOf(1)
    this.#length--
    if (this.#length === 0 && this.#slots.length > slotCountKept) this.clear()
    return item
  }

  /** The oldest item, left in place. @example const oldest = queue.peek() */
  peek(): T | undefined {
    return this.#slots[this.#head]
  }

  clear(): void {
    this.#slots = noSlots
    this.#head = 0
    this.#length = 0
  }

  /** Oldest first. The queue must not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (let offset = 0; offset < this.#length; offset++) yield this.#slots[this.#slotOf(offset)] as T
  }

  #slotOf(offset: number): number {
    return (this.#head + offset) & (this.#slots.length - 1)
  }

  #grow(): void {
    const grown = new Array<T | undefined>(Math.max(slotCountMin, this.#slots.length * 2)).fill(undefined)
    for (let offset = 0; offset < this.#length; offset++) grown[offset] = this.#slots[this.#slotOf(offset)]
    this.#slots = grown
    this.#head = 0
  }
}
