/**
 * The Link port without a network: what the owner sends is kept, what the peer sends is handed over by the test.
 * `isStuck` makes it a link whose peer does not read.
 */
import type { Failure } from '../../src/lib/errors.ts'
import type { Link, LinkOwner } from '../../src/ports/transport.ts'

export class PipeLink implements Link {
  readonly remote: string
  readonly identity: string | undefined
  owner: LinkOwner | undefined
  /** What the owner sent and nobody took yet. */
  #sent: Buffer[] = []
  #stuckByteCount = 0
  isStuck = false
  isPaused = false
  isEnded = false
  isDestroyed = false
  #isClosed = false
  #held: Buffer[] = []

  constructor(remote = 'pipe', identity?: string) {
    this.remote = remote
    this.identity = identity
  }

  send(pieces: readonly Buffer[]): void {
    if (this.isEnded || this.isDestroyed) return
    for (const piece of pieces) {
      this.#sent.push(Buffer.from(piece))
      if (this.isStuck) this.#stuckByteCount += piece.length
    }
  }

  get bufferedByteCount(): number {
    return this.#stuckByteCount
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
    const held = this.#held
    this.#held = []
    for (const chunk of held) this.deliver(chunk)
  }

  end(): void {
    this.isEnded = true
  }

  destroy(): void {
    this.isDestroyed = true
  }

  /** Bytes from the peer. */
  deliver(bytes: Uint8Array): void {
    if (this.#isClosed) return
    if (this.isPaused) this.#held.push(Buffer.from(bytes))
    else this.#lend(Buffer.from(bytes))
  }

  /** What the owner keeps of a chunk without copying it is overwritten. */
  #lend(chunk: Buffer): void {
    this.owner?.receive(chunk)
    chunk.fill(0xee)
  }

  /** Everything sent since the last call. */
  take(): Buffer {
    const bytes = Buffer.concat(this.#sent)
    this.#sent = []
    return bytes
  }

  /** The peer reads again. */
  unstick(): void {
    this.isStuck = false
    this.#stuckByteCount = 0
    this.owner?.onDrain()
  }

  /** The link is gone: after an end or destroy by the owner, or because the peer left. */
  close(failure?: Failure): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.owner?.onClosed(failure)
  }
}
