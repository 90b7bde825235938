/**
 * THE place that decides when a link is dead, whatever it runs over: an answer is due and nothing at all came for
 * longer than the remote side takes (round-trip.ts). Every answer counts: to CONNECT, SUBSCRIBE, a message or a ping.
 * The keep-alive only makes sure that something is asked now and then; while nothing but its ping is unanswered nothing
 * is at stake, and the answer has the longest time there is, in which TCP may recover.
 */
import type { Clock, Timer } from '../ports/clock.ts'
import { RoundTrip } from './round-trip.ts'

export interface WatchedLink {
  ping(): void
  onDead(silentMs: number): void
}

/** How often an open link is looked at: silence is noticed this much late at most. */
const intervalMs = 200

export class LinkWatch {
  readonly #clock: Clock
  readonly #link: WatchedLink
  readonly #roundTrip: RoundTrip
  #keepAliveMs = Number.POSITIVE_INFINITY
  #timer: Timer | undefined
  #lastSentMs = 0
  /** Since when an answer is due and nothing came; undefined while nothing is unanswered. */
  #silentSinceMs: number | undefined
  #isPingUnanswered = false
  /** What was sent and not acknowledged: packet id -> when it was sent, NaN when that measures nothing. */
  readonly #unanswered = new Map<number, number>()

  /** @param ackTimeoutMs longest silence; a quick remote side is given less */
  constructor(clock: Clock, ackTimeoutMs: number, link: WatchedLink) {
    this.#clock = clock
    this.#link = link
    this.#roundTrip = new RoundTrip(ackTimeoutMs)
  }

  get roundTripMs(): number {
    return this.#roundTrip.smoothedMs
  }

  /** CONNECT is on its way; nobody looks yet. */
  connecting(): void {
    this.stop()
    this.#silentSinceMs = this.#clock.nowMs()
  }

  /** CONNACK came. From now on the link is looked at. @param keepAliveMs `Infinity` = never asks by itself */
  connected(keepAliveMs: number): void {
    const nowMs = this.#clock.nowMs()
    if (this.#silentSinceMs !== undefined) this.#roundTrip.measure(nowMs - this.#silentSinceMs)
    this.#silentSinceMs = undefined
    this.#keepAliveMs = keepAliveMs
    this.#schedule()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#silentSinceMs = undefined
    this.#isPingUnanswered = false
    this.#unanswered.clear()
  }

  /** Bytes leave. */
  wrote(): void {
    this.#lastSentMs = this.#clock.nowMs()
  }

  /** Bytes came: somebody is there, so that an answer that is still due gets its full time again. */
  heard(): void {
    if (this.#silentSinceMs !== undefined && this.#timer !== undefined) this.#silentSinceMs = this.#clock.nowMs()
  }

  /**
   * A packet that is to be acknowledged leaves.
   * @param isTimed false when it was sent before: its acknowledgement may belong to either (Karn's rule)
   */
  asked(packetId: number, isTimed: boolean): void {
    const nowMs = this.#clock.nowMs()
    // The silence since a ping of the keep-alive does not count against what is sent only now.
    if (this.#silentSinceMs === undefined || this.#unanswered.size === 0) this.#silentSinceMs = nowMs
    this.#unanswered.set(packetId, isTimed ? nowMs : Number.NaN)
  }

  /** @returns false when nothing was asked under this packet id on this link */
  answered(packetId: number): boolean {
    const sentAtMs = this.#unanswered.get(packetId)
    if (sentAtMs === undefined) return false
    if (!Number.isNaN(sentAtMs)) this.#roundTrip.measure(this.#clock.nowMs() - sentAtMs)
    this.#unanswered.delete(packetId)
    this.#settle()
    return true
  }

  pinged(): void {
    this.#isPingUnanswered = false
    this.#settle()
  }

  isUnanswered(packetId: number): boolean {
    return this.#unanswered.has(packetId)
  }

  #settle(): void {
    if (this.#unanswered.size === 0 && !this.#isPingUnanswered) this.#silentSinceMs = undefined
  }

  #schedule(): void {
    this.#timer = this.#clock.after(intervalMs, () => {
      this.#schedule()
      this.#look()
    })
  }

  #look(): void {
    const nowMs = this.#clock.nowMs()
    if (this.#silentSinceMs !== undefined) {
      const silentMs = nowMs - this.#silentSinceMs
      const deadAfterMs = this.#unanswered.size > 0 ? this.#roundTrip.deadAfterMs : this.#roundTrip.silenceMaxMs
      if (silentMs >= deadAfterMs - intervalMs) this.#link.onDead(silentMs)
      else if (silentMs >= this.#roundTrip.pingAfterMs) this.#ping()
    } else if (nowMs - this.#lastSentMs >= this.#keepAliveMs) {
      this.#ping() // [MQTT-3.1.2-20]
    }
  }

  #ping(): void {
    if (this.#isPingUnanswered) return
    this.#isPingUnanswered = true
    this.#silentSinceMs ??= this.#clock.nowMs()
    this.#link.ping()
  }
}
