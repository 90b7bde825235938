/**
 * Back to the preferred address: while another one serves, the preferred one is dialed now and then, and when it answers
 * its link takes the place of the one there is. One that takes the link and then fails is left alone for longer and longer.
 */
import type { Clock, Timer } from '../ports/clock.ts'
import type { Dial, Link, LinkOwner } from '../ports/transport.ts'
import type { Routes } from './routes.ts'

const returnMsMax = 3_600_000

export class WayHome {
  readonly #clock: Clock
  readonly #routes: Routes
  readonly #firstMs: number
  readonly #onFound: (link: Link) => LinkOwner
  #nextMs: number
  #timer: Timer | undefined
  #dial: Dial | undefined

  /**
   * @param firstMs between two attempts, at first
   * @param onFound the preferred address answers, and is where `routes` are from now on
   */
  constructor(clock: Clock, routes: Routes, firstMs: number, onFound: (link: Link) => LinkOwner) {
    this.#clock = clock
    this.#routes = routes
    this.#firstMs = firstMs
    this.#nextMs = firstMs
    this.#onFound = onFound
  }

  /** A link is online. */
  online(): void {
    if (this.#routes.isPreferred) this.#nextMs = this.#firstMs
    else this.#schedule()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#dial?.abort()
    this.#dial = undefined
  }

  #schedule(): void {
    this.#timer = this.#clock.after(this.#nextMs, () => {
      this.#dial = this.#routes.preferred.dial({
        onConnected: (link) => this.#onConnected(link),
        onFailed: () => this.#schedule(),
      })
    })
  }

  #onConnected(link: Link): LinkOwner {
    this.#dial = undefined
    this.#nextMs = Math.min(this.#nextMs * 2, returnMsMax)
    this.#routes.goHome()
    return this.#onFound(link)
  }
}
