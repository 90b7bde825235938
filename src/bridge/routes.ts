/**
 * Where a bridge goes and how the broker there is spoken to. Addresses are tried in order, the preferred one first
 * after every loss; a round in which none answered is followed by a pause. A broker that refuses MQTT 5.0 is spoken to
 * in 3.1.1, with mosquitto's private bit, which keeps retain flags and echoes away, or without where that is refused.
 */
import type { Dialer } from '../ports/transport.ts'

export interface Dialect {
  readonly version: 4 | 5
  /** Mosquitto's private bit of the protocol level. */
  readonly isBridge: boolean
}

export type Protocol = 'auto' | '5' | '3.1.1'

const newest: Dialect = { version: 5, isBridge: false }
const bridging: Dialect = { version: 4, isBridge: true }
const plain: Dialect = { version: 4, isBridge: false }

const dialects: Record<Protocol, readonly Dialect[]> = {
  auto: [newest, bridging, plain],
  5: [newest],
  '3.1.1': [bridging, plain],
}

/** So many links in a row that end without an answer to CONNECT mean that it was not understood. */
const silentEndsMax = 3

class Route {
  dialer: Dialer
  readonly #dialects: readonly Dialect[]
  #at = 0
  #silentEnds = 0
  /** Where an answer came once, silence is no refusal of the dialect. */
  #isUnderstood = false

  constructor(dialer: Dialer, protocol: Protocol) {
    this.dialer = dialer
    this.#dialects = dialects[protocol]
  }

  get dialect(): Dialect {
    return this.#dialects[this.#at] as Dialect
  }

  /** @returns whether there is another way to ask */
  refuse(): boolean {
    this.#silentEnds = 0
    this.#at = (this.#at + 1) % this.#dialects.length
    return this.#at !== 0
  }

  endSilently(): void {
    this.#silentEnds++
    if (!this.#isUnderstood && this.#silentEnds >= silentEndsMax) this.refuse()
  }

  understand(): void {
    this.#silentEnds = 0
    this.#isUnderstood ||= this.#at === 0
  }

  /** A broker may have learned: the next connection asks from the beginning. */
  forget(): void {
    this.#at = 0
  }
}

export class Routes {
  readonly #routes: readonly Route[]
  #at = 0

  /** @param dialers the preferred one first */
  constructor(dialers: readonly Dialer[], protocol: Protocol) {
    this.#routes = dialers.map((dialer) => new Route(dialer, protocol))
  }

  /** The same addresses are dialed in another way from now on. */
  dialWith(dialers: readonly Dialer[]): void {
    for (const [at, route] of this.#routes.entries()) route.dialer = dialers[at] ?? route.dialer
  }

  get dialer(): Dialer {
    return this.#route.dialer
  }

  get preferred(): Dialer {
    return (this.#routes[0] as Route).dialer
  }

  get isPreferred(): boolean {
    return this.#at === 0
  }

  get dialect(): Dialect {
    return this.#route.dialect
  }

  /** A link that was online is lost, or the way back is open: the preferred address again. */
  goHome(): void {
    this.#route.forget()
    this.#at = 0
  }

  /** This address does not answer. @returns whether there is another one to try before a pause */
  goOn(): boolean {
    this.#at = (this.#at + 1) % this.#routes.length
    return this.#at !== 0
  }

  /** CONNACK came, and was no. @returns whether there is another way to ask the same broker */
  refuseDialect(): boolean {
    return this.#route.refuse()
  }

  /** The link ended, and no CONNACK had come. */
  endSilently(): void {
    this.#route.endSilently()
  }

  /** CONNACK came, and was yes. */
  understand(): void {
    this.#route.understand()
  }

  get #route(): Route {
    return this.#routes[this.#at] as Route
  }
}
