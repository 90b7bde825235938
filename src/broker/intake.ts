/**
 * Whether a client is listened to. What it sends is left to the system, and so in the end to the client, while
 * anything holds the intake: so nobody has to be disconnected for being too fast.
 */
import type { Link } from '../ports/transport.ts'

/** Who holds it. */
export const Hold = {
  /** Too many acknowledgements wait (ack-queue.ts). */
  acknowledgements: 1,
  /** The client is ahead of its rate (pace.ts). */
  rate: 2,
} as const
export type Hold = (typeof Hold)[keyof typeof Hold]

export class Intake {
  readonly #link: Link
  /** Bits of `Hold`. */
  #holds = 0

  constructor(link: Link) {
    this.#link = link
  }

  /** The client is not listened to at the moment, so its silence says nothing. */
  get isHeld(): boolean {
    return this.#holds !== 0
  }

  hold(holder: Hold): void {
    if (this.#holds === 0) this.#link.pause()
    this.#holds |= holder
  }

  release(holder: Hold): void {
    if ((this.#holds & holder) === 0) return
    this.#holds &= ~holder
    if (this.#holds === 0) this.#link.resume()
  }
}
