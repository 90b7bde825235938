/**
 * How long the remote side takes to answer, and so how long silence may last before the link counts as dead: a
 * smoothed round trip after RFC 6298, from acknowledgements and pings.
 */
const firstGuessMs = 500
const graceMs = 2000

export class RoundTrip {
  readonly silenceMaxMs: number
  #smoothedMs = firstGuessMs
  #isMeasured = false

  /** @param silenceMaxMs however slow the remote side is, it is given no longer than this */
  constructor(silenceMaxMs: number) {
    this.silenceMaxMs = silenceMaxMs
  }

  measure(sampleMs: number): void {
    this.#smoothedMs = this.#isMeasured ? this.#smoothedMs + (sampleMs - this.#smoothedMs) / 8 : sampleMs
    this.#isMeasured = true
  }

  get smoothedMs(): number {
    return this.#smoothedMs
  }

  /** Something is unanswered for this long: ask with a ping. */
  get pingAfterMs(): number {
    return this.deadAfterMs / 2
  }

  /** Nothing at all came for this long although something is unanswered: the link is dead. */
  get deadAfterMs(): number {
    return Math.min(this.silenceMaxMs, graceMs + 2 * this.#smoothedMs)
  }
}
