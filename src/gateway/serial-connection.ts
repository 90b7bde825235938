/**
 * One conversation of a serial link as the broker sees it: a Link like any other (ports/transport.ts). When the broker
 * closes it, the conversation ends too, so that the device notices; when the conversation ends, the broker is told.
 */
import { must } from '../lib/assert.ts'
import type { Failure } from '../lib/errors.ts'
import type { Clock } from '../ports/clock.ts'
import type { Link, LinkOwner } from '../ports/transport.ts'
import type { SerialLink } from './serial-link.ts'

export class SerialConnection implements Link {
  readonly remote: string
  /** What a device says of itself proves nothing. */
  readonly identity = undefined
  readonly #link: SerialLink
  readonly #clock: Clock
  #owner: LinkOwner | undefined
  /** `ending`: nothing more is taken, what was taken still leaves. `ended`: the owner will be told, or was. */
  #state: 'open' | 'ending' | 'ended' | 'closed' = 'open'

  constructor(remote: string, link: SerialLink, clock: Clock) {
    this.remote = remote
    this.#link = link
    this.#clock = clock
  }

  /** Set once, before the first byte. */
  bind(owner: LinkOwner): void {
    this.#owner = owner
  }

  get bufferedByteCount(): number {
    return this.#isLive ? this.#link.bufferedByteCount : 0
  }

  send(pieces: readonly Buffer[]): void {
    if (this.#state !== 'open') return
    for (const piece of pieces) this.#link.send(piece)
  }

  pause(): void {
    if (this.#isLive) this.#link.pause()
  }

  resume(): void {
    if (this.#isLive) this.#link.resume()
  }

  /** The peer has to acknowledge everything before the conversation ends: a line has no other way to say "it left". */
  end(): void {
    if (this.#state !== 'open') return
    this.#state = 'ending'
    if (this.#link.bufferedByteCount === 0) this.#finish()
  }

  destroy(): void {
    if (this.#isLive) this.#finish()
  }

  /** From the link, like the three below: the next bytes of the device. */
  onBytes(chunk: Buffer): void {
    if (this.#state === 'open') this.#bound.receive(chunk)
  }

  onDrain(): void {
    if (this.#state === 'open') this.#bound.onDrain()
    else if (this.#state === 'ending') this.#finish()
  }

  /** The conversation is over, or the owner closed it: tells the owner once. */
  onClosed(failure: Failure | undefined): void {
    if (this.#state === 'closed') return
    const isOwnWish = this.#state !== 'open'
    this.#state = 'closed'
    this.#bound.onClosed(isOwnWish ? undefined : failure)
  }

  /** Ends the conversation; the owner hears of it once its own call is over. */
  #finish(): void {
    this.#state = 'ended'
    this.#link.reset()
    this.#clock.afterTurn(() => this.onClosed(undefined))
  }

  get #isLive(): boolean {
    return this.#state === 'open' || this.#state === 'ending'
  }

  get #bound(): LinkOwner {
    return must(this.#owner, 'owner of a serial connection')
  }
}
