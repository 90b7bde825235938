/** The small durable numbers of this node (ports/store.ts, MarkStore), by key and at hand. */
import type { Durability, Mark, MarkStore } from '../ports/store.ts'

export class Marks {
  readonly #store: MarkStore
  readonly #marks = new Map<string, Mark>()

  constructor(store: MarkStore) {
    this.#store = store
  }

  /** Puts back what the store loaded. */
  restore(key: string, mark: Mark): void {
    this.#marks.set(key, mark)
  }

  get(key: string): Mark | undefined {
    return this.#marks.get(key)
  }

  /** Joins the open group commit, which is not held open for others when `isUrgent`. */
  set(key: string, mark: Mark, durability?: Durability, isUrgent?: boolean): void {
    this.#marks.set(key, mark)
    this.#store.set(key, mark, durability, isUrgent)
  }
}
