/**
 * The device end of the serial link, as small firmware would have it: short frames, three of them under
 * way (send-window.ts), a fixed acknowledgement timer that doubles, no measuring. It shares no line with the gateway's end.
 *
 * After power-on it sends RST until the gateway answers; a RST of the gateway during the conversation means that the
 * gateway closed the MQTT connection. With an address it is on a bus (bus-voice.ts): it speaks only in its turn, and what
 * a turn of the gateway does not acknowledge goes again.
 */
import { BusVoice } from './bus-voice.ts'
import type { DeviceClock, DeviceTimer } from './clock.ts'
import { Field, helloPayload, type ResetReason } from './device-hello.ts'
import { Flag, type Frame, fromWire, headerAndCrcBytes, numberField, Type, toWire } from './link-codec.ts'
import type { SeededRandom } from './seeded-random.ts'
import { SendWindow } from './send-window.ts'

export interface DeviceLinkOwner {
  /** Bytes for the UART. */
  write(bytes: Buffer): void
  /** A conversation began. */
  onUp(): void
  /** The next bytes of the gateway's stream. */
  onBytes(bytes: Buffer): void
  /** The conversation ended; another one is sought. */
  onDown(): void
  /** What the gateway says the time is: milliseconds since 1970, and how far that can be trusted, 0 (not) to 4. */
  onTime?(wallMs: number, quality: number): void
  /** The UART goes to this rate now; what was written before has left at the former one. */
  changeRate?(baudRate: number): void
}

/** What only some boards can do. */
export interface DeviceLinkExtras {
  readonly wantsTime?: boolean
  /** Other rates of the UART, at most four. */
  readonly baudRates?: readonly number[]
  /** The longest frame that the board has room for. */
  readonly frameBytes?: number | undefined
  /** Bytes that may come before any of them is read: the credit of the gateway. */
  readonly receiveBytes?: number | undefined
  readonly firmware?: () => string
  /** Of the board on a bus, 1 to 127. */
  readonly address?: number | undefined
}

const frameBytesDefault = 128
const windowFrames = 3

const ackDelayMs = 20
const silentMsMax = 2000
const pingsMax = 3
const resetRepeatMs = 1000
const holdMs = 1000
/** A new rate that brings no frame for so long is given up. */
const trialMs = 500
const pingAgainRaisedMs = 250

const nothing = Buffer.alloc(0)
const longAgo = Number.NEGATIVE_INFINITY

export class DeviceLink {
  /** Conversations begun, and frames that came damaged. */
  upCount = 0
  damagedFrameCount = 0
  readonly #id: string
  readonly #startRate: number
  #baudRate: number
  readonly #extras: DeviceLinkExtras
  readonly #owner: DeviceLinkOwner
  readonly #clock: DeviceClock
  readonly #random: SeededRandom
  readonly #frameBytesMax: number
  readonly #creditBytes: number
  readonly #firmware: () => string
  /** Only on a bus. */
  readonly #bus: BusVoice | undefined
  readonly #window: SendWindow
  #isOn = false
  #isUp = false
  #bootId = 0
  #reason: ResetReason = 'unknown'
  /** The one that is open, or that we ask for. */
  #conversation = 0
  #received: Buffer = nothing
  #isOverlong = false
  #expectedSeq = 0
  #nakAtMs = longAgo
  #heardAtMs = 0
  #pingCount = 0
  #ackTimer: DeviceTimer | undefined
  #pulse: DeviceTimer | undefined
  #trial: DeviceTimer | undefined

  constructor(
    id: string,
    baudRate: number,
    owner: DeviceLinkOwner,
    clock: DeviceClock,
    random: SeededRandom,
    extras: DeviceLinkExtras = {},
  ) {
    this.#id = id
    this.#startRate = baudRate
    this.#baudRate = baudRate
    this.#extras = extras
    this.#owner = owner
    this.#clock = clock
    this.#random = random
    this.#frameBytesMax = extras.frameBytes ?? frameBytesDefault
    this.#creditBytes = extras.receiveBytes ?? 4 * this.#frameBytesMax
    this.#firmware = extras.firmware ?? (() => 'firmware-sim')
    const { address } = extras
    this.#bus = address === undefined ? undefined : new BusVoice(address, (bytes) => owner.write(bytes))
    const isAlone = address === undefined
    this.#window = new SendWindow(
      this.#frameBytesMax,
      this.#overheadBytes,
      isAlone,
      {
        write: (flags, seq, payload) => this.#write(Type.data, flags, seq, payload),
        lineMs: (byteCount) => this.#lineMs(byteCount),
        onGivenUp: () => this.#goDown(),
      },
      clock,
    )
  }

  get isUp(): boolean {
    return this.#isUp
  }

  get baudRate(): number {
    return this.#baudRate
  }

  get resentFrameCount(): number {
    return this.#window.resentFrameCount
  }

  /** Starts from nothing, as after a reset: with a new boot id, without any memory of a conversation. */
  powerOn(reason: ResetReason): void {
    this.powerOff()
    this.#isOn = true
    this.#reason = reason
    this.#bootId = this.#random.uint32()
    this.#received = nothing
    this.#seek()
  }

  powerOff(): void {
    this.#isOn = false
    this.#isUp = false
    this.#bus?.forget()
    this.#stopTimers()
    this.#baudRate = this.#startRate
  }

  /** Gives up the conversation and asks for another one. */
  reset(): void {
    if (!this.#isUp) return
    // At a raised rate the gateway would not hear a RST.
    if (this.#baudRate !== this.#startRate) this.#say(Type.err, nothing)
    this.#goDown()
  }

  /** The answer comes as `onTime`; like the question it may be lost. */
  askTime(): void {
    if (this.#isUp) this.#say(Type.time, nothing)
  }

  /** Ignored while no conversation is open. */
  send(bytes: Buffer): void {
    if (!this.#isUp) return
    this.#window.push(bytes)
    this.#fill()
  }

  /** A line for people, outside of the stream. */
  log(text: string): void {
    this.#say(Type.log, Buffer.from(text).subarray(0, this.#frameBytesMax - headerAndCrcBytes))
  }

  /** Bytes from the UART. */
  receive(bytes: Buffer): void {
    let rest = bytes
    while (this.#isOn) {
      const end = rest.indexOf(0)
      const part = end < 0 ? rest : rest.subarray(0, end)
      this.#isOverlong ||= this.#received.length + part.length > 2 * this.#frameBytesMax
      this.#received = this.#isOverlong ? nothing : Buffer.concat([this.#received, part])
      if (end < 0) return
      this.#onDelimiter()
      rest = rest.subarray(end + 1)
    }
  }

  #onDelimiter(): void {
    const stuffed = this.#received
    const isOverlong = this.#isOverlong
    this.#received = nothing
    this.#isOverlong = false
    if (stuffed.length === 0 && !isOverlong) return
    const frame = isOverlong ? undefined : fromWire(stuffed)
    if (frame !== undefined) {
      this.#onFrame(frame)
      return
    }
    this.damagedFrameCount++
    // On a bus nobody knows whom it was for.
    if (this.#isUp && this.#bus === undefined) this.#reject()
  }

  #onFrame(frame: Frame): void {
    // Also what others on the bus say, and what it brings back of us.
    if (frame.address !== this.#bus?.address) return
    if (this.#bus === undefined && (frame.flags & Flag.host) === 0) return
    this.#onOwnFrame(frame)
    if (frame.type === Type.turn) this.#bus?.speak(() => this.#takeTurn())
  }

  /** What the TURN of the gateway did not acknowledge goes again, then what is new, and the turn goes back. */
  #takeTurn(): void {
    if (!this.#window.isEmpty && this.#isUp) this.#window.onTimeout()
    this.#fill()
    this.#say(Type.turn, nothing)
  }

  #onOwnFrame(frame: Frame): void {
    const conversation = numberField(frame.payload, Field.conversation)
    const isFromGateway = numberField(frame.payload, Field.role) === 1
    if (frame.type === Type.rst) {
      if (isFromGateway && conversation !== undefined) this.#onReset(conversation, frame.payload)
    } else if (frame.type === Type.rstAck) {
      if (isFromGateway && !this.#isUp && conversation === this.#conversation) this.#goUp(frame.payload)
    } else if (this.#isUp) {
      this.#onFrameUp(frame)
    }
  }

  #onReset(conversation: number, payload: Buffer): void {
    // While both ask, ours wins: the gateway answers it when it hears it again.
    if (!this.#isUp) {
      this.#sendHello(Type.rst)
      return
    }
    const isRepeat = conversation === this.#conversation
    if (!isRepeat) {
      this.#isUp = false
      this.#stopTimers()
      this.#changeRate(this.#startRate)
      this.#conversation = conversation
    }
    this.#sendHello(Type.rstAck)
    if (isRepeat) return
    this.#owner.onDown()
    this.#goUp(payload)
  }

  #onFrameUp(frame: Frame): void {
    this.#heardAtMs = this.#clock.nowMs()
    this.#pingCount = 0
    this.#trial?.cancel()
    if (frame.type === Type.time || frame.type === Type.baud) {
      this.#onExtra(frame)
      return
    }
    this.#window.heldUntilMs = frame.flags & Flag.notReady ? this.#heardAtMs + holdMs : 0
    this.#window.acknowledged(frame.ack)
    if (frame.type === Type.data) this.#onData(frame)
    else if (frame.type === Type.nak && this.#bus === undefined) this.#window.goBack()
    else if (frame.type === Type.ping) this.#say(Type.pong, nothing)
    else if (frame.type === Type.err) this.#goDown()
    this.#fill()
  }

  #onExtra({ type, payload }: Frame): void {
    if (type === Type.time) {
      if (payload.length >= 9) this.#owner.onTime?.(Number(payload.readBigUInt64LE(0)), payload.readUInt8(8))
      return
    }
    const rate = payload.length === 4 ? payload.readUInt32LE(0) : 0
    if (!this.#extras.baudRates?.includes(rate)) return
    this.#say(Type.baud, payload)
    this.#changeRate(rate)
    this.#trial = this.#clock.after(trialMs, () => this.#changeRate(this.#startRate))
  }

  #changeRate(rate: number): void {
    this.#trial?.cancel()
    if (rate === this.#baudRate) return
    this.#baudRate = rate
    this.#owner.changeRate?.(rate)
  }

  #onData(frame: Frame): void {
    const ahead = (frame.seq - this.#expectedSeq) & 255
    if (ahead > 127) {
      // The gateway missed our acknowledgement.
      this.#sendAck()
      return
    }
    if (ahead > 0) {
      this.#reject()
      return
    }
    this.#expectedSeq = (this.#expectedSeq + 1) & 255
    this.#nakAtMs = longAgo
    // The second frame without an acknowledgement brings it at once.
    if (this.#ackTimer !== undefined) this.#sendAck()
    else this.#ackTimer = this.#clock.after(ackDelayMs, () => this.#sendAck())
    this.#owner.onBytes(Buffer.from(frame.payload))
  }

  #reject(): void {
    const nowMs = this.#clock.nowMs()
    if (nowMs - this.#nakAtMs < this.#lineMs(windowFrames * this.#frameBytesMax)) return
    this.#nakAtMs = nowMs
    this.#say(Type.nak, nothing)
  }

  #fill(): void {
    if (this.#bus === undefined || this.#bus.hasTurn) this.#window.fill()
  }

  #sendAck(): void {
    this.#say(Type.ack, nothing)
  }

  #goUp(gateway: Buffer): void {
    const mtuBytes = Math.min(this.#frameBytesMax, numberField(gateway, Field.mtu) ?? 48)
    this.#window.open({
      payloadBytesMax: mtuBytes - this.#overheadBytes,
      creditBytes: numberField(gateway, Field.credit) ?? 64,
      windowFrames: Math.min(windowFrames, numberField(gateway, Field.window) ?? 1),
    })
    this.#expectedSeq = 0
    this.#nakAtMs = longAgo
    this.#heardAtMs = this.#clock.nowMs()
    this.#pingCount = 0
    this.#isUp = true
    this.upCount++
    this.#setPulse(silentMsMax)
    this.#owner.onUp()
  }

  #goDown(): void {
    this.#isUp = false
    this.#stopTimers()
    this.#changeRate(this.#startRate)
    this.#seek()
    this.#owner.onDown()
  }

  #seek(): void {
    this.#conversation = this.#random.uint32()
    this.#sendHello(Type.rst)
    this.#setPulse(resetRepeatMs)
  }

  /** Once a second or two: the repeat of an unanswered RST, or a look whether the gateway is still there. */
  #onPulse(): void {
    if (!this.#isUp) {
      this.#sendHello(Type.rst)
      this.#setPulse(resetRepeatMs)
      return
    }
    this.#fill()
    const silentMs = this.#clock.nowMs() - this.#heardAtMs
    const isRaised = this.#baudRate !== this.#startRate
    if (silentMs < silentMsMax) {
      this.#setPulse(silentMsMax - silentMs)
      return
    }
    if (this.#pingCount === pingsMax) {
      this.#goDown()
      return
    }
    this.#pingCount++
    this.#say(Type.ping, nothing)
    this.#setPulse(isRaised ? pingAgainRaisedMs : silentMsMax)
  }

  #setPulse(delayMs: number): void {
    this.#pulse?.cancel()
    this.#pulse = this.#clock.after(delayMs, () => this.#onPulse())
  }

  #stopTimers(): void {
    for (const timer of [this.#ackTimer, this.#pulse, this.#trial]) timer?.cancel()
    this.#window.close()
    this.#ackTimer = undefined
    this.#pulse = undefined
  }

  #sendHello(type: number): void {
    const { wantsTime = false, baudRates = [] } = this.#extras
    const payload = helloPayload({
      bootId: this.#bootId,
      conversation: this.#conversation,
      reason: this.#reason,
      mtuBytes: this.#frameBytesMax,
      creditBytes: this.#creditBytes,
      windowFrames,
      id: this.#id,
      firmware: this.#firmware(),
      wantsTime,
      baudRates,
    })
    this.#write(type, 0, 0, payload)
  }

  /** A frame without a number of its own. */
  #say(type: number, payload: Buffer): void {
    this.#write(type, 0, this.#window.nextSeq, payload)
  }

  #write(type: number, flags: number, seq: number, payload: Buffer): void {
    // Of other types nobody reads the acknowledgement.
    if ((type >= Type.data && type <= Type.pong) || type === Type.turn) {
      this.#ackTimer?.cancel()
      this.#ackTimer = undefined
    }
    const frame = { type, flags, seq, ack: this.#expectedSeq, payload }
    if (this.#bus === undefined) this.#owner.write(toWire(frame))
    else this.#bus.say(frame)
  }

  get #overheadBytes(): number {
    return headerAndCrcBytes + (this.#bus === undefined ? 0 : 1)
  }

  #lineMs(byteCount: number): number {
    return (byteCount * 10_000) / this.#baudRate
  }
}
