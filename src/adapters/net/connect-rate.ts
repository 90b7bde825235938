/** New connections per second: a bucket that holds those of one second and is filled evenly. */
export class ConnectRate {
  readonly perSecondMax: number
  #content: number
  #filledMs = Number.NEGATIVE_INFINITY

  constructor(perSecondMax: number) {
    this.perSecondMax = perSecondMax
    this.#content = perSecondMax
  }

  /** @returns false when there is none left */
  take(nowMs: number): boolean {
    this.#content = Math.min(this.perSecondMax, this.#content + ((nowMs - this.#filledMs) / 1000) * this.perSecondMax)
    this.#filledMs = nowMs
    if (this.#content < 1) return false
    this.#content--
    return true
  }
}
