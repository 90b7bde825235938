/** Who owns which session in a store that one broker alone writes to: every claim is granted, the last one counts. */
export class SoleClaims {
  readonly #saved = new Map<string, number>()
  /** Above what is saved; a save takes the place of its claim. */
  readonly #claimed = new Map<string, number>()

  isSaved(clientId: string): boolean {
    return this.#saved.has(clientId)
  }

  /** @returns an epoch that nobody had before */
  claim(clientId: string): number {
    const epoch = Math.max(this.#saved.get(clientId) ?? 0, this.#claimed.get(clientId) ?? 0) + 1
    this.#claimed.set(clientId, epoch)
    return epoch
  }

  release(clientId: string, epoch: number): void {
    if (this.#claimed.get(clientId) === epoch) this.#claimed.delete(clientId)
  }

  /** @returns false when somebody claimed or saved it later: then nothing may be written */
  save(clientId: string, epoch: number): boolean {
    const claimed = this.#claimed.get(clientId) ?? 0
    if (epoch < claimed || epoch < (this.#saved.get(clientId) ?? 0)) return false
    if (claimed > 0) this.#claimed.delete(clientId)
    this.#saved.set(clientId, epoch)
    return true
  }

  remove(clientId: string): void {
    this.#saved.delete(clientId)
  }
}
