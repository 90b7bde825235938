/**
 * What two ends of the serial link say to each other between one RST and the next: a byte stream in each direction,
 * made reliable by go-back-N. DATA frames are numbered; `ack` in every frame names the next one expected; a gap or a
 * damaged frame is answered with NAK; what stays unacknowledged is sent again on a timer. PING finds out whether a
 * silent peer is still there. Everything happens inside `onFrame`, `onGarbage`, `fill` and `run`; serial-link.ts calls
 * `run` at `nextDueMs` and after `onEnd` none of them any more.
 */
import type { Clock } from '../ports/clock.ts'
import type { AckTimeout } from './ack-timeout.ts'
import { FrameFlag, FrameType, type LinkFrame } from './link-frame.ts'
import type { LinkLine } from './link-line.ts'
import type { LinkRate } from './link-rate.ts'
import { ReceiveWindow } from './receive-window.ts'
import type { SendWindow } from './send-window.ts'

export interface ConversationOwner {
  /** The next bytes of the peer's stream. `chunk` is borrowed: valid until the call returns. */
  onBytes(chunk: Buffer): void
  /** The peer has acknowledged everything that was sent. */
  onDrain(): void
  /** The conversation is over; comes at most once. */
  onEnd(reason: 'no acknowledgement' | 'silence'): void
}

/** What outlives a conversation because it belongs to the line. */
export interface ConversationParts {
  readonly line: LinkLine
  readonly window: SendWindow
  readonly rate: LinkRate
  readonly ackTimeout: AckTimeout
  readonly clock: Clock
}

/** Frames are handed to the line only so long before it runs dry: what waits here can still be overtaken. */
const aheadMs = 12

const timeoutsMax = 6
/** A frame that fails so often although the peer answers will never pass: something on the line eats it. */
const rejectsMax = 40

const pingIntervalMs = 2000
const pingsMax = 3
/** At a raised rate the peer may have restarted at the first one, where it hears nothing: that is to be found out soon. */
const pingAgainRaisedMs = 250

const notReadyRefreshMs = 480
/** NOT-READY lapses unless it is refreshed, so that a lost all-clear does not stop the stream. */
const notReadyLapseMs = 1000

const nothing = Buffer.alloc(0)
const never = Number.POSITIVE_INFINITY

/** Frames whose `ack` the peer reads; an acknowledgement that is due does not get through with any other. */
const acknowledgingTypes = new Set<FrameType>([
  FrameType.data,
  FrameType.ack,
  FrameType.nak,
  FrameType.ping,
  FrameType.pong,
  FrameType.turn,
])

export class Conversation {
  /** DATA frames sent again, and waits for an acknowledgement that ended without one. */
  retransmitCount = 0
  timeoutCount = 0
  readonly #parts: ConversationParts
  readonly #owner: ConversationOwner
  readonly #received: ReceiveWindow
  #isOver = false
  #isPaused = false
  #resendAtMs = never
  /** Timeouts and rejects since the last progress. */
  #timeoutsInRow = 0
  #rejectsInRow = 0
  #pingAtMs: number
  #pingCount = 0
  /** The peer takes no new DATA until then. */
  #heldUntilMs = 0
  /** When the owner's pause, or its end, is told to the peer. */
  #tellAtMs = never

  /** @param heldBytesMax the credit that the peer was given. */
  constructor(parts: ConversationParts, heldBytesMax: number, owner: ConversationOwner) {
    this.#parts = parts
    this.#owner = owner
    this.#received = new ReceiveWindow(heldBytesMax)
    this.#pingAtMs = parts.clock.nowMs() + pingIntervalMs
  }

  /** Ended from outside: a call that is still running does nothing more. */
  stop(): void {
    this.#isOver = true
  }

  pause(): void {
    this.#setPaused(true)
  }

  /** What came meanwhile is delivered by the next `run`. */
  resume(): void {
    this.#setPaused(false)
  }

  /** Any frame of the peer but those that begin or end a conversation. */
  onFrame(frame: LinkFrame): void {
    this.#pingAtMs = this.#parts.clock.nowMs() + pingIntervalMs
    this.#pingCount = 0
    switch (frame.type) {
      case FrameType.data:
        this.#onProgress(frame)
        if (!this.#isOver) this.#onData(frame)
        return
      case FrameType.nak:
        this.#onProgress(frame)
        if (!this.#isOver) this.#onReject()
        return
      case FrameType.ping:
        this.send(FrameType.pong)
        this.#onProgress(frame)
        return
      case FrameType.ack:
      case FrameType.pong:
      case FrameType.turn:
        this.#onProgress(frame)
        return
      default:
        return // Of a type that only newer ends know: it proves that the peer lives.
    }
  }

  /** Something came that is no frame; perhaps it was one. */
  onGarbage(): void {
    if (this.#received.mayReject(false, this.#parts.clock.nowMs())) this.send(FrameType.nak)
  }

  /** Sends what window and line take: first what goes again, then what is new. */
  fill(): void {
    const { clock, line, rate, window } = this.#parts
    if (rate.isChanging) return
    const nowMs = clock.nowMs()
    while (line.freeAtMs <= nowMs + aheadMs) {
      const isAgain = window.isGoingBack
      if (!isAgain && (nowMs < this.#heldUntilMs || !window.canGrow)) return
      const frame = isAgain ? window.again() : window.grow()
      if (isAgain) this.retransmitCount++
      this.#write(FrameType.data, isAgain ? FrameFlag.retransmitted : 0, frame.seq, frame.payload)
      frame.sendCount++
      frame.leftAtMs = line.freeAtMs
      if (frame === window.oldest) this.#armResend()
    }
  }

  /** When `run` has something to do. */
  nextDueMs(): number {
    return Math.min(this.#received.ackAtMs, this.#resendAtMs, this.#pingAtMs, this.#tellAtMs, this.#fillAtMs())
  }

  /** Does what is due. */
  run(): void {
    const nowMs = this.#parts.clock.nowMs()
    if (nowMs >= this.#resendAtMs) this.#onTimeout(nowMs)
    if (!this.#isOver && nowMs >= this.#pingAtMs) this.#onSilence(nowMs)
    this.#deliverHeld()
    if (this.#isOver) return
    this.fill()
    if (nowMs >= this.#tellAtMs) {
      this.#tellAtMs = this.#isPaused ? nowMs + notReadyRefreshMs : never
      this.#received.ackAtMs = nowMs
    }
    if (nowMs >= this.#received.ackAtMs) this.send(FrameType.ack)
  }

  /** Sends a frame outside of the stream; most are only their header. */
  send(type: FrameType, payload: Buffer = nothing): void {
    this.#write(type, 0, this.#parts.window.nextSeq, payload)
  }

  /** What every frame says about our own stream. */
  #onProgress(frame: LinkFrame): void {
    const { ackTimeout, clock, line, window } = this.#parts
    const nowMs = clock.nowMs()
    this.#heldUntilMs = frame.flags & FrameFlag.notReady ? nowMs + notReadyLapseMs : 0
    const newest = window.acknowledge(frame.ack).at(-1)
    if (newest === undefined) return
    if (newest.sendCount === 1) {
      ackTimeout.onAcknowledged(Math.max(0, nowMs - newest.leftAtMs))
      line.onAcknowledged(newest.wireBytes, newest.leftAtMs)
    }
    this.#timeoutsInRow = 0
    this.#rejectsInRow = 0
    this.#armResend()
    if (window.bufferedByteCount === 0) this.#owner.onDrain()
  }

  #onData(frame: LinkFrame): void {
    const verdict = this.#received.take(frame, this.#isPaused, this.#parts.clock.nowMs())
    if (verdict === 'deliver') this.#owner.onBytes(frame.payload)
    else if (verdict === 'reject') this.send(FrameType.nak)
  }

  #onReject(): void {
    const { clock, window } = this.#parts
    // While the last copy has not even left, the NAK is about an earlier one.
    if (window.oldest === undefined || window.isGoingBack || window.oldest.leftAtMs > clock.nowMs()) return
    this.#rejectsInRow++
    if (this.#rejectsInRow > rejectsMax) this.#end('no acknowledgement')
    else window.goBack()
  }

  #onTimeout(nowMs: number): void {
    if (nowMs < this.#heldUntilMs) {
      // A peer that cannot take more owes no acknowledgement.
      this.#armResend()
      return
    }
    const { ackTimeout, line, window } = this.#parts
    line.onTimeout()
    this.timeoutCount++
    this.#timeoutsInRow++
    if (this.#timeoutsInRow >= timeoutsMax) {
      this.#end('no acknowledgement')
      return
    }
    ackTimeout.onTimeout(this.#oldestMs())
    this.#resendAtMs = never
    window.goBack()
  }

  #onSilence(nowMs: number): void {
    if (this.#pingCount === pingsMax) {
      this.#end('silence')
      return
    }
    this.#pingCount++
    this.#pingAtMs = nowMs + (this.#parts.rate.isAway ? pingAgainRaisedMs : pingIntervalMs)
    this.send(FrameType.ping)
  }

  #deliverHeld(): void {
    while (!this.#isOver && !this.#isPaused) {
      const chunk = this.#received.takeHeld()
      if (chunk === undefined) return
      this.#owner.onBytes(chunk)
    }
  }

  #end(reason: 'no acknowledgement' | 'silence'): void {
    this.#isOver = true
    this.#owner.onEnd(reason)
  }

  #setPaused(isPaused: boolean): void {
    if (this.#isPaused === isPaused) return
    this.#isPaused = isPaused
    this.#tellAtMs = this.#parts.clock.nowMs()
  }

  #armResend(): void {
    const { ackTimeout, clock, window } = this.#parts
    const leftAtMs = window.oldest?.leftAtMs
    this.#resendAtMs =
      leftAtMs === undefined ? never : Math.max(clock.nowMs(), leftAtMs) + ackTimeout.currentMs(this.#oldestMs())
  }

  /** How long the oldest frame in flight takes on the line. */
  #oldestMs(): number {
    return this.#parts.line.durationMs(this.#parts.window.oldest?.wireBytes ?? 0)
  }

  /** When the line or the peer takes more of what waits here. */
  #fillAtMs(): number {
    const { line, rate, window } = this.#parts
    if (rate.isChanging) return never
    const lineAtMs = line.freeAtMs - aheadMs
    if (window.isGoingBack) return lineAtMs
    return window.canGrow ? Math.max(lineAtMs, this.#heldUntilMs) : never
  }

  /** Sends a frame, and with it the acknowledgement that is due. */
  #write(type: FrameType, flags: number, seq: number, payload: Buffer): void {
    const pauseFlag = this.#isPaused ? FrameFlag.notReady : 0
    if (acknowledgingTypes.has(type)) this.#received.onAckSent()
    this.#parts.line.write({ type, flags: flags | pauseFlag, seq, ack: this.#received.expectedSeq, payload })
  }
}
