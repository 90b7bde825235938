/**
 * A link whose peer may send so many bytes and PUBLISH packets a second. Beyond that it is paused until its time has
 * come: backpressure, not loss. A second's worth may come at once. Stands between a connection and the broker, and is
 * a Link towards the broker and an owner towards the connection.
 */
import { must } from '../lib/assert.ts'
import type { Failure } from '../lib/errors.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Acceptor, Link, LinkOwner, ListenerTraits } from '../ports/transport.ts'
import { PacketType } from '../protocol/packet.ts'

export interface RateLimits {
  /** Per second; `Infinity` = no limit */
  readonly bytesMax: number
  readonly messagesMax: number
}

/** Passes `link` to the broker, behind its limits when it has any; answers the owner for the link. */
export function acceptLimited(
  acceptor: Acceptor,
  link: Link,
  traits: ListenerTraits,
  limits: RateLimits,
  clock: Clock,
): LinkOwner {
  if (limits.bytesMax === Number.POSITIVE_INFINITY && limits.messagesMax === Number.POSITIVE_INFINITY) {
    return acceptor.accept(link, traits)
  }
  const limited = new RateLimitedLink(link, limits, clock)
  limited.bind(acceptor.accept(limited, traits))
  return limited
}

class RateLimitedLink implements Link, LinkOwner {
  readonly #link: Link
  readonly #limits: RateLimits
  readonly #clock: Clock
  readonly #packets = new PacketCounter()
  #owner: LinkOwner | undefined
  /** Until when what came so far is paid for, in milliseconds of the clock. */
  #bytesPaidAtMs: number
  #messagesPaidAtMs: number
  #isPausedByOwner = false
  #timer: Timer | undefined

  constructor(link: Link, limits: RateLimits, clock: Clock) {
    this.#link = link
    this.#limits = limits
    this.#clock = clock
    this.#bytesPaidAtMs = this.#messagesPaidAtMs = clock.nowMs()
  }

  bind(owner: LinkOwner): void {
    this.#owner = owner
  }

  receive(chunk: Buffer): void {
    const nowMs = this.#clock.nowMs()
    const { bytesMax, messagesMax } = this.#limits
    const publishCount = this.#packets.count(chunk)
    this.#bytesPaidAtMs = Math.max(this.#bytesPaidAtMs, nowMs) + (chunk.length * 1000) / bytesMax
    this.#messagesPaidAtMs = Math.max(this.#messagesPaidAtMs, nowMs) + (publishCount * 1000) / messagesMax
    must(this.#owner, 'owner of a limited link').receive(chunk)
    const waitMs = Math.max(this.#bytesPaidAtMs, this.#messagesPaidAtMs) - nowMs - burstMs
    if (waitMs <= 0 || this.#timer !== undefined) return
    this.#link.pause()
    this.#timer = this.#clock.after(waitMs, () => {
      this.#timer = undefined
      if (!this.#isPausedByOwner) this.#link.resume()
    })
  }

  onDrain(): void {
    this.#owner?.onDrain()
  }

  onClosed(failure: Failure | undefined): void {
    this.#timer?.cancel()
    this.#owner?.onClosed(failure)
  }

  get remote(): string {
    return this.#link.remote
  }

  get identity(): string | undefined {
    return this.#link.identity
  }

  get bufferedByteCount(): number {
    return this.#link.bufferedByteCount
  }

  send(pieces: readonly Buffer[]): void {
    this.#link.send(pieces)
  }

  pause(): void {
    this.#isPausedByOwner = true
    this.#link.pause()
  }

  resume(): void {
    this.#isPausedByOwner = false
    if (this.#timer === undefined) this.#link.resume()
  }

  end(): void {
    this.#link.end()
  }

  destroy(): void {
    this.#link.destroy()
  }
}

const burstMs = 1000

/** Counts PUBLISH packets by their fixed headers; what is no MQTT is the broker's to refuse. */
class PacketCounter {
  #at: 'type' | 'length' | 'body' = 'type'
  #length = 0
  #shift = 0

  count(chunk: Buffer): number {
    let publishCount = 0
    for (let at = 0; at < chunk.length; ) {
      if (this.#at === 'body') {
        const skipped = Math.min(this.#length, chunk.length - at)
        this.#length -= skipped
        at += skipped
        if (this.#length === 0) this.#at = 'type'
        continue
      }
      const byte = chunk[at++] as number
      if (this.#at === 'type') {
        if (byte >> 4 === PacketType.publish) publishCount++
        this.#at = 'length'
        this.#length = this.#shift = 0
        continue
      }
      this.#length += (byte & 0x7f) << this.#shift
      this.#shift += 7
      if (byte < 0x80 || this.#shift > 21) this.#at = this.#length > 0 ? 'body' : 'type'
    }
    return publishCount
  }
}
