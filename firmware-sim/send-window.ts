/**
 * What a device has sent and the gateway has not acknowledged, and what waits behind it: frames are cut from a queue, a
 * few of them are under way, and after a NAK or in silence all of those go again.
 */
import type { DeviceClock, DeviceTimer } from './clock.ts'
import { Flag } from './link-codec.ts'

export interface SendWindowOwner {
  /** A DATA frame. */
  write(flags: number, seq: number, payload: Buffer): void
  /** How long bytes take at the present rate. */
  lineMs(byteCount: number): number
  /** Sent again and again, and never acknowledged. */
  onGivenUp(): void
}

/** What the gateway takes. */
export interface PeerLimits {
  readonly payloadBytesMax: number
  readonly creditBytes: number
  readonly windowFrames: number
}

const growthBytes = 4
const payloadBytesMin = 43
const timeoutsMax = 6

const nothing = Buffer.alloc(0)
const longAgo = Number.NEGATIVE_INFINITY

type Flight = { readonly seq: number; readonly payload: Buffer; readonly wireBytes: number }

export class SendWindow {
  resentFrameCount = 0
  /** Until then the gateway has no room. */
  heldUntilMs = 0
  readonly #frameBytesMax: number
  readonly #overheadBytes: number
  readonly #hasTimer: boolean
  readonly #owner: SendWindowOwner
  readonly #clock: DeviceClock
  #isOpen = false
  #nextSeq = 0
  #queue: Buffer = nothing
  #flight: Flight[] = []
  #peer: PeerLimits = { payloadBytesMax: 0, creditBytes: 0, windowFrames: 0 }
  /** Of the next frame: shorter after a loss, longer again with every acknowledgement. */
  #payloadBytes = Number.POSITIVE_INFINITY
  #timeoutCount = 0
  #wentBackAtMs = longAgo
  #timer: DeviceTimer | undefined

  /** @param hasTimer false on a bus, where the turns of the gateway take its place */
  constructor(
    frameBytesMax: number,
    overheadBytes: number,
    hasTimer: boolean,
    owner: SendWindowOwner,
    clock: DeviceClock,
  ) {
    this.#frameBytesMax = frameBytesMax
    this.#overheadBytes = overheadBytes
    this.#hasTimer = hasTimer
    this.#owner = owner
    this.#clock = clock
  }

  /** Of the next DATA frame. */
  get nextSeq(): number {
    return this.#nextSeq
  }

  get isEmpty(): boolean {
    return this.#flight.length === 0
  }

  /** A conversation begins: nothing is queued, nothing under way. */
  open(peer: PeerLimits): void {
    this.#peer = peer
    this.#payloadBytes = Math.min(this.#payloadBytes, peer.payloadBytesMax)
    this.#queue = nothing
    this.#flight = []
    this.#nextSeq = 0
    this.#timeoutCount = 0
    this.#wentBackAtMs = longAgo
    this.heldUntilMs = 0
    this.#isOpen = true
  }

  close(): void {
    this.#isOpen = false
    this.#timer?.cancel()
    this.#timer = undefined
  }

  push(bytes: Buffer): void {
    this.#queue = Buffer.concat([this.#queue, bytes])
  }

  /** Sends what is queued, as far as window and credit of the gateway go. */
  fill(): void {
    while (this.#isOpen && this.#queue.length > 0 && this.#flight.length < this.#peer.windowFrames) {
      if (this.#clock.nowMs() < this.heldUntilMs) return
      const payload = this.#queue.subarray(0, this.#payloadBytes)
      const wireBytes = payload.length + this.#overheadBytes + 3
      if (this.#flight.length > 0 && this.#underWayBytes + wireBytes > this.#peer.creditBytes) return
      this.#queue = this.#queue.subarray(payload.length)
      const seq = this.#nextSeq
      this.#nextSeq = (seq + 1) & 255
      this.#flight.push({ seq, payload, wireBytes })
      this.#owner.write(0, seq, payload)
      if (this.#timer === undefined) this.#arm()
    }
  }

  acknowledged(ack: number): void {
    const count = this.#flight.length - ((this.#nextSeq - ack) & 255)
    if (count <= 0) return
    this.#flight.splice(0, count)
    this.#payloadBytes = Math.min(this.#peer.payloadBytesMax, this.#payloadBytes + count * growthBytes)
    this.#timeoutCount = 0
    this.#arm()
  }

  /** Sends everything under way again, unless that was done a moment ago and cannot have arrived. */
  goBack(): void {
    const nowMs = this.#clock.nowMs()
    if (this.isEmpty || nowMs - this.#wentBackAtMs < this.#owner.lineMs(this.#underWayBytes)) return
    this.#wentBackAtMs = nowMs
    this.#payloadBytes = Math.max(payloadBytesMin, this.#payloadBytes >> 1)
    for (const frame of this.#flight) this.#owner.write(Flag.retransmitted, frame.seq, frame.payload)
    this.resentFrameCount += this.#flight.length
    this.#arm()
  }

  /** No acknowledgement came in time. */
  onTimeout(): void {
    this.#timer = undefined
    this.#timeoutCount++
    if (this.#timeoutCount >= timeoutsMax) {
      this.#owner.onGivenUp()
      return
    }
    this.#wentBackAtMs = longAgo
    this.goBack()
  }

  #arm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.isEmpty || !this.#hasTimer) return
    const waitMs = Math.max(100, 4 * this.#owner.lineMs(this.#frameBytesMax) + 20) * 2 ** this.#timeoutCount
    this.#timer = this.#clock.after(Math.min(2400, waitMs), () => this.onTimeout())
  }

  get #underWayBytes(): number {
    return this.#flight.reduce((sum, frame) => sum + frame.wireBytes, 0)
  }
}
