/**
 * Items with consecutive numbers: added at the end, dropped from the front, found by number, each in constant time.
 *
 * Invariant: item `firstNumber + i` stands at `#items[#head + i]`; the slots before `#head` hold nothing.
 */

/** Dropped slots are kept up to this count, or as many as there are items, before the array is cut. */
const slackMax = 1024

export class NumberedQueue<T> {
  #items: (T | undefined)[] = []
  #head = 0
  #firstNumber: number

  /** @param firstNumber number of the first item that will be added */
  constructor(firstNumber: number) {
    this.#firstNumber = firstNumber
  }

  /** Number of the oldest item; `nextNumber` when there is none. */
  get firstNumber(): number {
    return this.#firstNumber
  }

  /** Number that the next item gets. */
  get nextNumber(): number {
    return this.#firstNumber + this.#items.length - this.#head
  }

  /** @example queue.push('a') // the number of 'a' */
  push(item: T): number {
    return this.#firstNumber + this.#items.push(item) - 1 - this.#head
  }

  /** undefined when the item was dropped or is yet to come. @example queue.at(queue.firstNumber) */
  at(number: number): T | undefined {
    return number < this.#firstNumber ? undefined : this.#items[this.#head + number - this.#firstNumber]
  }

  /** Forgets the items up to `number`; O(items forgotten). @example queue.dropUpTo(queue.firstNumber) // the oldest */
  dropUpTo(number: number): void {
    const count = Math.min(number + 1, this.nextNumber) - this.#firstNumber
    if (count <= 0) return
    this.#items.fill(undefined, this.#head, this.#head + count)
    this.#head += count
    this.#firstNumber += count
    if (this.#head > Math.max(slackMax, this.#items.length - this.#head)) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
  }

  /**
   * Items `from` to `to` in order, for as long as there are any and their weights add up to at most `weightMax`; the
   * first one in any case.
   * @example queue.run(1, 10, 100, (text) => text.length)
   */
  run(from: number, to: number, weightMax: number, weigh: (item: T) => number): T[] {
    const items: T[] = []
    let weight = 0
    for (let number = from; number <= to; number++) {
      const item = this.at(number)
      if (item === undefined) break
      weight += weigh(item)
      if (weight > weightMax && items.length > 0) break
      items.push(item)
    }
    return items
  }
}
