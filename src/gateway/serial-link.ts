/**
 * One end of the serial link: a reliable byte stream over a line that flips, loses and invents bytes. This file owns
 * how a conversation begins and ends; conversation.ts is what happens in it. Both ends follow the same rules; only the
 * answer to RSTs that cross depends on the role. Synchronous; time comes from the clock.
 *
 *   closed ──open()──> resetting ──RSTACK to our RST, or RST of the peer──> open ──RST of the peer──> open
 *     ^                    ^                                                 │
 *     └──close(), leave()──┴──reset(), no acknowledgement, silence, ERR──────┘
 *
 * A RST carries the 32-bit number of the conversation that it asks for, and RSTACK repeats it. A RST of the open
 * conversation is the repeat of one that was answered and is answered again; any other one ends what was open. So each
 * end may repeat its RST until it is understood, and nothing of an older conversation is taken for the present one.
 */
import { unreachable } from '../lib/assert.ts'
import type { Clock, ClockQuality, Timer } from '../ports/clock.ts'
import type { Random } from '../ports/random.ts'
import { AckTimeout } from './ack-timeout.ts'
import { Conversation, type ConversationParts } from './conversation.ts'
import { mtuOf } from './line-rate.ts'
import { LinkDecoder } from './link-decoder.ts'
import { FrameFlag, FrameType, type LinkFrame, wireBytesMax } from './link-frame.ts'
import { decodeHello, encodeHello, type LinkHello, type LinkRole, windowFramesMax } from './link-hello.ts'
import { LinkLine } from './link-line.ts'
import { LinkRate } from './link-rate.ts'
import { encodeTime, timePayloadBytes } from './link-time.ts'
import type { RoundTrips } from './round-trips.ts'
import { SendWindow } from './send-window.ts'

export interface SerialLinkOwner {
  /** A frame of this type. Takes ownership of `bytes`; they may be lost. */
  write(bytes: Buffer, type: number): void
  /** A conversation began: an empty stream in both directions. */
  onUp(peer: LinkHello): void
  /** The next bytes of the peer's stream. `chunk` is borrowed: valid until the call returns. */
  onBytes(chunk: Buffer): void
  /** The peer has acknowledged everything that was sent. */
  onDrain(): void
  /** The conversation ended, and not because this owner asked for it. */
  onDown(reason: DownReason): void
  /** Text of the peer outside of the stream. Borrowed like `onBytes`. */
  onLog(text: Buffer): void
}

/** What the host's end of a link can do beyond carrying bytes. */
export interface LinkExtras {
  /** Of the device on a bus, 1 to 127: frames for others are not heard. Whose turn it is, link-bus.ts decides. */
  readonly address?: number | undefined
  /** The fastest rate that the device may be asked to go to. Without `changeRate` it is not asked. */
  readonly baudRateMax?: number | undefined
  /** What is written from now on goes out at this rate, what was written before at the former one. */
  changeRate?(baudRate: number): void
  /** What the wall clock is worth now. */
  clockQuality?(): ClockQuality
}

export type DownReason = 'peer restarted' | 'peer began anew' | 'peer left' | 'no acknowledgement' | 'silence'

export interface LinkCounters {
  /** Whole frames. */
  readonly unitCount: number
  /** Frames with a wrong checksum, frames that are not COBS, and stretches longer than any frame. */
  readonly crcErrorCount: number
  readonly cobsErrorCount: number
  readonly oversizeCount: number
  /** DATA frames sent again, and waits for an acknowledgement that ended without one. */
  readonly retransmitCount: number
  readonly timeoutCount: number
  /** Conversations begun. */
  readonly resetCount: number
}

/** RST is repeated after this time, doubled up to the longest, until it is answered. */
const resetShortestMs = 500
const resetLongestMs = 5000

/** What the peer may have under way, in frames of full length: a third of a second of the line. */
const creditFrames = 3

const never = Number.POSITIVE_INFINITY
const nothing = Buffer.alloc(0)

type Resetting = { readonly at: 'resetting'; readonly number: number; retryMs: number; retryAtMs: number }
type Open = { readonly at: 'open'; readonly peer: LinkHello; readonly conversation: Conversation }
type State = { readonly at: 'closed' } | Resetting | Open

export class SerialLink {
  readonly #role: LinkRole
  readonly #baudRate: number
  readonly #extras: LinkExtras
  readonly #owner: SerialLinkOwner
  readonly #random: Random
  readonly #parts: ConversationParts
  readonly #decoder: LinkDecoder
  readonly #bootId: number
  readonly #mtuBytes: number
  readonly #creditBytes: number
  #state: State = { at: 'closed' }
  #alarm: Timer | undefined
  #alarmAtMs = never
  #retransmitCount = 0
  #timeoutCount = 0
  #resetCount = 0

  constructor(
    role: LinkRole,
    baudRate: number,
    owner: SerialLinkOwner,
    clock: Clock,
    random: Random,
    extras: LinkExtras = {},
  ) {
    this.#role = role
    this.#baudRate = baudRate
    this.#extras = extras
    this.#owner = owner
    this.#random = random
    const { address } = extras
    const flag = role === 'host' && address === undefined ? FrameFlag.host : 0
    const line = new LinkLine(baudRate, clock, (bytes, type) => owner.write(bytes, type), { address, flag })
    const rate = new LinkRate(baudRate, clock, {
      ask: (wanted) => this.#sendOutside(FrameType.baud, rateBytes(wanted)),
      change: (wanted) => {
        line.changeRate(wanted)
        extras.changeRate?.(wanted)
      },
      knock: () => this.#sendOutside(FrameType.ping, nothing),
    })
    this.#parts = { line, rate, window: new SendWindow(), ackTimeout: new AckTimeout(), clock }
    this.#bootId = this.#drawNumber()
    this.#mtuBytes = mtuOf(baudRate)
    // On a bus the others wait while one speaks.
    const frames = address === undefined ? creditFrames : 1
    this.#creditBytes = frames * wireBytesMax(this.#mtuBytes)
    this.#decoder = new LinkDecoder(this.#mtuBytes, {
      onFrame: (frame) => {
        if (frame.address === undefined && (frame.flags & FrameFlag.host) !== flag) this.#onFrame(frame)
      },
      onGarbage: () => this.#onGarbage(),
    })
  }

  get at(): State['at'] {
    return this.#state.at
  }

  /** The baud rate that the line has now. */
  get baudRate(): number {
    return this.#parts.rate.current
  }

  /** How long acknowledgements took lately, after their frame had left. */
  get roundTrips(): RoundTrips {
    return this.#parts.ackTimeout.roundTrips
  }

  /** Bytes sent that the peer has not acknowledged. */
  get bufferedByteCount(): number {
    return this.#parts.window.bufferedByteCount
  }

  get counters(): LinkCounters {
    const current = this.#state.at === 'open' ? this.#state.conversation : undefined
    return {
      unitCount: this.#decoder.frameCount,
      crcErrorCount: this.#decoder.crcErrorCount,
      cobsErrorCount: this.#decoder.cobsErrorCount,
      oversizeCount: this.#decoder.oversizeCount,
      retransmitCount: this.#retransmitCount + (current?.retransmitCount ?? 0),
      timeoutCount: this.#timeoutCount + (current?.timeoutCount ?? 0),
      resetCount: this.#resetCount,
    }
  }

  /** The line is there: looks for a peer. */
  open(): void {
    this.#decoder.clear()
    this.#parts.line.clear()
    this.#parts.rate.clear()
    this.reset()
  }

  /** The line is gone, and with it the conversation. */
  close(): void {
    this.#enter({ at: 'closed' })
    this.#alarm?.cancel()
    this.#alarm = undefined
    this.#alarmAtMs = never
  }

  /** Tells the peer that this end goes, then closes. */
  leave(): void {
    if (this.#state.at === 'open') this.#sendOutside(FrameType.err, nothing)
    this.close()
  }

  /** Ends the conversation, unsent bytes included, and asks the peer for a new one. */
  reset(): void {
    // At a raised rate a RST could not be heard: this tells the peer to come back to where the RST will be.
    if (this.#state.at === 'open' && this.#parts.rate.isAway) this.#sendOutside(FrameType.err, nothing)
    this.#seek(false)
  }

  #seek(isLost: boolean): void {
    this.#enter({ at: 'resetting', number: this.#drawNumber(), retryMs: resetShortestMs, retryAtMs: 0 }, isLost)
    this.#wake()
  }

  /** Adds to the stream; takes ownership of `bytes`. Ignored while no conversation is open. */
  send(bytes: Buffer): void {
    if (this.#state.at !== 'open') return
    this.#parts.window.push(bytes)
    this.#state.conversation.fill()
    this.#wake()
  }

  /** No `onBytes` until `resume`; the peer is told to wait. A new conversation begins unpaused. */
  pause(): void {
    if (this.#state.at === 'open') this.#state.conversation.pause()
    this.#wake()
  }

  /** What came meanwhile is delivered later, not inside this call. */
  resume(): void {
    if (this.#state.at === 'open') this.#state.conversation.resume()
    this.#wake()
  }

  /** Bytes from the line. */
  receive(chunk: Buffer): void {
    this.#decoder.push(chunk)
    this.#work()
  }

  /** On a bus, in place of `receive`: a frame that the device with our address sent. */
  receiveFrame(frame: LinkFrame): void {
    this.#onFrame(frame)
    this.#work()
  }

  /** On a bus: something came in the turn of our device that is no frame. */
  receiveGarbage(): void {
    this.#onGarbage()
    this.#work()
  }

  /** On a bus: the device may speak now. */
  giveTurn(): void {
    const turn = { type: FrameType.turn, flags: 0, seq: 0, ack: 0, payload: nothing }
    if (this.#state.at === 'open') this.#state.conversation.send(FrameType.turn)
    else if (this.#state.at === 'resetting') this.#parts.line.write(turn)
  }

  #work(): void {
    if (this.#state.at === 'open') this.#state.conversation.fill()
    this.#wake()
  }

  #onFrame(frame: LinkFrame): void {
    const state = this.#state
    switch (state.at) {
      case 'closed':
        return
      case 'resetting':
        this.#onFrameResetting(state, frame)
        return
      case 'open':
        this.#onFrameOpen(state, frame)
        return
      default:
        unreachable(state)
    }
  }

  #onFrameResetting(state: Resetting, frame: LinkFrame): void {
    if (frame.type === FrameType.log) {
      this.#owner.onLog(frame.payload)
      return
    }
    if (frame.type !== FrameType.rst && frame.type !== FrameType.rstAck) return
    const peer = this.#decodePeer(frame)
    if (peer === undefined) return
    if (frame.type === FrameType.rst) {
      // When RSTs cross, the device's wins: it knows best when it began. It repeats its own for the host to answer.
      if (this.#role === 'host') this.#accept(peer)
      else this.#sendHello(FrameType.rst, state.number)
    } else if (peer.conversation === state.number) {
      this.#begin(peer)
      this.#up(peer)
    }
  }

  #onFrameOpen(state: Open, frame: LinkFrame): void {
    this.#parts.rate.onFrame()
    switch (frame.type) {
      case FrameType.rst:
        this.#onReset(state, frame)
        return
      case FrameType.rstAck:
        return // The answer to a repeat.
      case FrameType.err:
        this.#goDown('peer left')
        return
      case FrameType.log:
        this.#owner.onLog(frame.payload)
        break
      case FrameType.time:
        if (this.#role === 'host' && frame.payload.length === 0) this.#sendTime()
        break
      case FrameType.baud:
        if (frame.payload.length === 4) this.#parts.rate.onAgreed(frame.payload.readUInt32LE(0))
        break
    }
    state.conversation.onFrame(frame)
  }

  #onReset(state: Open, frame: LinkFrame): void {
    const peer = this.#decodePeer(frame)
    if (peer === undefined) return
    if (peer.conversation === state.peer.conversation) this.#sendHello(FrameType.rstAck, peer.conversation)
    else this.#accept(peer, peer.bootId === state.peer.bootId ? 'peer began anew' : 'peer restarted')
  }

  /** Answers the RST of `peer`; `ended` is why the conversation before it is over, if there was one. */
  #accept(peer: LinkHello, ended?: DownReason): void {
    const open = this.#begin(peer)
    this.#sendHello(FrameType.rstAck, peer.conversation)
    if (ended !== undefined) this.#owner.onDown(ended)
    if (this.#state === open) this.#up(peer)
  }

  #up(peer: LinkHello): void {
    if (peer.wantsTime) this.#sendTime()
    const rate = this.#fastestRate(peer)
    if (rate > this.#baudRate) this.#parts.rate.want(rate, peer.bootId)
    this.#owner.onUp(peer)
  }

  /** The fastest that both ends can do. */
  #fastestRate(peer: LinkHello): number {
    const { baudRateMax = 0, changeRate } = this.#extras
    if (this.#role === 'device' || changeRate === undefined) return 0
    return Math.max(0, ...peer.baudRates.filter((rate) => rate <= baudRateMax))
  }

  #begin(peer: LinkHello): Open {
    this.#resetCount++
    const conversation = new Conversation(this.#parts, this.#creditBytes, {
      onBytes: (chunk) => this.#owner.onBytes(chunk),
      onDrain: () => this.#owner.onDrain(),
      onEnd: (reason) => this.#goDown(reason),
    })
    const open: Open = { at: 'open', peer, conversation }
    this.#enter(open)
    const { windowFrames } = peer
    // The address is a byte more in every frame.
    const addressBytes = this.#extras.address === undefined ? 0 : 1
    this.#parts.window.open({
      mtuBytes: Math.min(peer.mtuBytes, this.#mtuBytes) - addressBytes,
      creditBytes: peer.creditBytes - addressBytes * windowFrames,
      windowFrames,
    })
    return open
  }

  #goDown(reason: DownReason): void {
    this.#seek(reason === 'silence' || reason === 'no acknowledgement')
    this.#owner.onDown(reason)
  }

  #enter(state: State, isLost = false): void {
    if (this.#state.at === 'open') {
      this.#parts.rate.stop(isLost)
      const { conversation } = this.#state
      conversation.stop()
      this.#parts.window.clear()
      this.#retransmitCount += conversation.retransmitCount
      this.#timeoutCount += conversation.timeoutCount
    }
    this.#state = state
  }

  #onGarbage(): void {
    if (this.#state.at === 'open') this.#state.conversation.onGarbage()
  }

  #onAlarm(): void {
    this.#alarm = undefined
    this.#alarmAtMs = never
    if (this.#state.at === 'resetting') this.#repeatReset(this.#state)
    else if (this.#state.at === 'open') {
      this.#parts.rate.run()
      this.#state.conversation.run()
    }
    this.#wake()
  }

  #repeatReset(state: Resetting): void {
    const nowMs = this.#parts.clock.nowMs()
    if (nowMs < state.retryAtMs) return
    this.#sendHello(FrameType.rst, state.number)
    state.retryAtMs = nowMs + state.retryMs
    state.retryMs = Math.min(resetLongestMs, state.retryMs * 2)
  }

  /** Sets the alarm for the earliest thing to do; one that stands for earlier is left to ring. */
  #wake(): void {
    const atMs = this.#nextDueMs()
    if (atMs >= this.#alarmAtMs) return
    this.#alarm?.cancel()
    this.#alarmAtMs = atMs
    this.#alarm = this.#parts.clock.after(Math.max(0, atMs - this.#parts.clock.nowMs()), () => this.#onAlarm())
  }

  #nextDueMs(): number {
    const state = this.#state
    switch (state.at) {
      case 'closed':
        return never
      case 'resetting':
        return state.retryAtMs
      case 'open':
        return Math.min(state.conversation.nextDueMs(), this.#parts.rate.nextDueMs())
      default:
        return unreachable(state)
    }
  }

  #sendHello(type: typeof FrameType.rst | typeof FrameType.rstAck, conversation: number): void {
    const payload = encodeHello({
      role: this.#role,
      bootId: this.#bootId,
      conversation,
      resetReason: 'unknown',
      mtuBytes: this.#mtuBytes,
      creditBytes: this.#creditBytes,
      windowFrames: windowFramesMax,
      deviceId: '',
      firmware: '',
      wantsTime: false,
      baudRates: [],
    })
    this.#parts.line.write({ type, flags: 0, seq: 0, ack: 0, payload })
  }

  /** Sends a frame that is no part of the stream. Only in a conversation. */
  #sendOutside(type: FrameType, payload: Buffer): void {
    if (this.#state.at === 'open') this.#state.conversation.send(type, payload)
  }

  #sendTime(): void {
    const { clock, line } = this.#parts
    const underWayMs = line.leavesAtMs(wireBytesMax(timePayloadBytes)) - clock.nowMs()
    const quality = this.#extras.clockQuality?.() ?? 'kept'
    this.#sendOutside(FrameType.time, encodeTime(clock.wallMs() + underWayMs, quality))
  }

  /** undefined also for an end of our own kind: with that there is nothing to agree on. */
  #decodePeer(frame: LinkFrame): LinkHello | undefined {
    const peer = decodeHello(frame.payload)
    return peer?.role === this.#role ? undefined : peer
  }

  #drawNumber(): number {
    return Number.parseInt(this.#random.hex(4), 16)
  }
}

function rateBytes(rate: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32LE(rate, 0)
  return bytes
}
