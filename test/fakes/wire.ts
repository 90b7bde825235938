/**
 * A network in memory: links in pairs, each end's bytes arriving at the other after a delay on the virtual clock.
 * A black hole swallows bytes for good, both ways and without a word, as a dead mobile network does.
 */
import { Failure } from '../../src/lib/errors.ts'
import type { Clock } from '../../src/ports/clock.ts'
import type { Acceptor, Dialer, DialOutcome, Link, LinkOwner, ListenerTraits } from '../../src/ports/transport.ts'

/** An attempt into a black hole ends like that of a real dialer. */
const dialTimeoutMs = 5000

class WireEnd implements Link {
  readonly remote: string
  readonly identity: string | undefined
  readonly bufferedByteCount = 0
  readonly #wire: Wire
  owner: LinkOwner | undefined
  peer: WireEnd | undefined
  #isOpen = true
  #isPaused = false
  #held: Buffer[] = []

  constructor(wire: Wire, remote: string, identity: string | undefined) {
    this.#wire = wire
    this.remote = remote
    this.identity = identity
  }

  send(pieces: readonly Buffer[]): void {
    if (!this.#isOpen || this.#wire.isBlackHole) return
    const bytes = Buffer.concat(pieces)
    this.#wire.later(() => this.peer?.arrive(bytes))
  }

  arrive(bytes: Buffer): void {
    if (!this.#isOpen || this.#wire.isBlackHole) return
    if (this.#isPaused) this.#held.push(bytes)
    else this.owner?.receive(bytes)
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    const held = this.#held
    this.#held = []
    for (const bytes of held) this.#wire.later(() => this.arrive(bytes))
  }

  end(): void {
    this.#wire.later(() => this.close())
    if (!this.#wire.isBlackHole) this.#wire.later(() => this.peer?.close())
  }

  destroy(): void {
    this.end()
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.owner?.onClosed(undefined)
  }
}

export class Wire implements Dialer {
  readonly address = 'wire://cloud'
  readonly #clock: Clock
  readonly #delayMs: number
  readonly #ends = new Set<WireEnd>()
  readonly #identity: string | undefined
  readonly #traits: ListenerTraits
  /** Who answers; undefined = nobody listens. */
  acceptor: Acceptor | undefined
  #isBlackHole = false

  constructor(parts: {
    clock: Clock
    delayMs: number
    identity: string | undefined
    traits: ListenerTraits
    acceptor: Acceptor | undefined
  }) {
    this.#clock = parts.clock
    this.#delayMs = parts.delayMs
    this.#identity = parts.identity
    this.#traits = parts.traits
    this.acceptor = parts.acceptor
  }

  get isBlackHole(): boolean {
    return this.#isBlackHole
  }

  /** From now on bytes vanish. Links that lived through it never carry anything again. */
  blackHole(): void {
    this.#isBlackHole = true
  }

  restore(): void {
    if (!this.#isBlackHole) return
    this.#isBlackHole = false
    for (const end of this.#ends) end.peer = undefined
    this.#ends.clear()
  }

  /** Both ends of every link hear of its end: a cable pulled, a process gone. */
  cut(): void {
    const ends = [...this.#ends]
    this.#ends.clear()
    for (const end of ends) end.close()
  }

  dial(outcome: DialOutcome): { abort(): void } {
    let isAborted = false
    this.later(() => {
      if (isAborted) return
      if (this.#isBlackHole) {
        this.#clock.after(dialTimeoutMs, () => {
          if (!isAborted) outcome.onFailed(new Failure('ERR_DIAL', this.address))
        })
        return
      }
      const acceptor = this.acceptor
      if (acceptor === undefined) {
        outcome.onFailed(new Failure('ERR_DIAL', this.address))
        return
      }
      const near = new WireEnd(this, this.address, undefined)
      const far = new WireEnd(this, 'wire', this.#identity)
      near.peer = far
      far.peer = near
      this.#ends.add(near)
      this.#ends.add(far)
      far.owner = acceptor.accept(far, this.#traits)
      near.owner = outcome.onConnected(near)
    })
    return {
      abort() {
        isAborted = true
      },
    }
  }

  later(task: () => void): void {
    if (this.#delayMs === 0) this.#clock.afterTurn(task)
    else this.#clock.after(this.#delayMs, task)
  }
}
