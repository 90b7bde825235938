/**
 * A sensor: takes a reading in a fixed rhythm, numbers it, and publishes it with QoS 1 until the gateway has
 * acknowledged it. Speaks MQTT 3.1.1 (package `mqtt-packet`) inside the serial link, with one durable session.
 *
 * The sensor keeps account of itself, so that a test can compare what it produced with what arrived: a reading is
 * produced, then perhaps sent several times, then acknowledged, or abandoned when a reset takes the queue with it.
 */
import { generate, type Packet, type Parser, parser } from 'mqtt-packet'
import type { DeviceClock, DeviceTimer } from './clock.ts'
import type { SeededRandom } from './seeded-random.ts'
import { DeviceLink, type ResetReason } from './serial-link.ts'

export interface DeviceOptions {
  /** MQTT client identifier; also names the topic and stands in every payload. */
  readonly id: string
  readonly baudRate: number
  /** Readings per second; Infinity = as fast as the line takes them. */
  readonly ratePerSecond: number
  /** Readings until the sensor is done; Infinity = never. */
  readonly readingCount: number
  /** `device/<id>/reading` unless given. */
  readonly topic?: string
  /** Payloads are filled up with spaces to this length. */
  readonly payloadBytes?: number
}

/** What the device is wired to. */
export interface DeviceUart {
  /** Takes ownership of `bytes`. */
  write(bytes: Buffer): void
  /** Forgets what has not left: the power went. */
  clear(): void
}

export interface DeviceWatcher {
  /** Reading `n` was acknowledged, `delayMs` after it was taken. */
  onAcknowledged?(n: number, delayMs: number): void
}

/** Readings sent and not acknowledged at one time. */
const inFlightMax = 8
/** Flash of the sensor: it takes no readings while so many wait. */
const queueMax = 100_000

const keepAliveSeconds = 10
const answerMs = 5000
/** The next CONNECT comes so long after one that was refused or not answered. */
const connectAgainMs = 1000

type Reading = {
  readonly n: number
  readonly takenAtMs: number
  readonly payload: Buffer
  packetId: number
  sentCount: number
}

export class SimulatedDevice {
  /** Numbers of the readings acknowledged, sent more than once, and lost by a reset. */
  readonly acknowledged = new Set<number>()
  readonly resent = new Set<number>()
  readonly abandoned = new Set<number>()
  /** Readings taken; their numbers are 1 to this. */
  producedCount = 0
  resetCount = 0
  /** MQTT sessions accepted and refused by the broker. */
  connectCount = 0
  refuseCount = 0
  readonly link: DeviceLink
  readonly #options: DeviceOptions
  readonly #uart: DeviceUart
  readonly #watcher: DeviceWatcher
  readonly #clock: DeviceClock
  /** Oldest first; the first ones are in flight. */
  #queue: Reading[] = []
  #inFlightCount = 0
  #lastPacketId = 0
  #isConnected = false
  #parser: Parser = parser()
  #sampleTimer: DeviceTimer | undefined
  #keepAliveTimer: DeviceTimer | undefined
  /** Ends a wait: for CONNACK, for PINGRESP, or until the next CONNECT. */
  #answerTimer: DeviceTimer | undefined
  #nextSampleAtMs = 0
  #connectAtMs = 0

  constructor(
    options: DeviceOptions,
    uart: DeviceUart,
    clock: DeviceClock,
    random: SeededRandom,
    watcher: DeviceWatcher = {},
  ) {
    this.#options = options
    this.#uart = uart
    this.#clock = clock
    this.#watcher = watcher
    const owner = {
      write: (bytes: Buffer) => uart.write(bytes),
      onUp: () => this.#connectSoon(),
      onBytes: (bytes: Buffer) => this.#onBytes(bytes),
      onDown: () => this.#onDown(),
    }
    this.link = new DeviceLink(options.id, options.baudRate, owner, clock, random)
  }

  /** Readings that wait for their acknowledgement, in flight or not. */
  get waitingCount(): number {
    return this.#queue.length
  }

  get isConnected(): boolean {
    return this.#isConnected
  }

  /** Every reading was taken, and none waits any more. */
  get isDone(): boolean {
    return this.producedCount >= this.#options.readingCount && this.#queue.length === 0
  }

  start(): void {
    this.#nextSampleAtMs = this.#clock.nowMs()
    this.#boot('power-on')
  }

  stop(): void {
    this.link.powerOff()
    this.#onDown()
    this.#connectAtMs = 0
    this.#sampleTimer?.cancel()
  }

  /**
   * Takes the power away for a moment: bytes under way are cut, the link and the MQTT connection are forgotten.
   * The queue is in flash and survives, unless `keepQueue` is false; then its readings are abandoned.
   */
  reset(reason: ResetReason = 'brown-out', keepQueue = true): void {
    this.resetCount++
    this.stop()
    this.#uart.clear()
    if (!keepQueue) {
      for (const reading of this.#queue) this.abandoned.add(reading.n)
      this.#queue = []
    }
    this.#boot(reason)
  }

  /** Bytes from the line. */
  receive(bytes: Buffer): void {
    this.link.receive(bytes)
  }

  #boot(reason: ResetReason): void {
    // A boot loader speaks before the firmware does, and knows nothing of frames.
    this.#uart.write(Buffer.from(`boot: ${reason}\r\n`))
    this.link.powerOn(reason)
    this.link.log(`sensor ${this.#options.id} started: ${reason}`)
    this.#sample()
  }

  #sample(): void {
    const { ratePerSecond, readingCount } = this.#options
    this.#takeDue()
    this.#publish()
    if (!Number.isFinite(ratePerSecond) || this.producedCount >= readingCount) return
    const waitMs = Math.max(0, this.#nextSampleAtMs - this.#clock.nowMs())
    this.#sampleTimer = this.#clock.after(waitMs, () => this.#sample())
  }

  #takeDue(): void {
    const { ratePerSecond, readingCount } = this.#options
    const waitingMax = Number.isFinite(ratePerSecond) ? queueMax : 2 * inFlightMax
    while (this.producedCount < readingCount && this.#queue.length < waitingMax) {
      if (this.#nextSampleAtMs > this.#clock.nowMs()) return
      this.#take()
      this.#nextSampleAtMs += 1000 / ratePerSecond
    }
  }

  #take(): void {
    this.producedCount++
    const { id, payloadBytes = 0 } = this.#options
    const text = JSON.stringify({ device: id, n: this.producedCount, t: this.#clock.wallMs() })
    this.#queue.push({
      n: this.producedCount,
      takenAtMs: this.#clock.nowMs(),
      payload: Buffer.from(text.padEnd(payloadBytes)),
      packetId: 0,
      sentCount: 0,
    })
  }

  #connect(): void {
    this.#parser = parser({ protocolVersion: 4 })
    this.#parser.on('packet', (packet: Packet) => this.#onPacket(packet))
    this.#parser.on('error', () => this.link.reset())
    const clientId = this.#options.id
    this.#send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clientId,
      clean: false,
      keepalive: keepAliveSeconds,
    })
    this.#awaitAnswer()
  }

  /** At once, but after an attempt that failed not before a moment has passed. */
  #connectSoon(): void {
    const waitMs = Math.max(0, this.#connectAtMs - this.#clock.nowMs())
    this.#answerTimer = this.#clock.after(waitMs, () => this.#connect())
  }

  #onDown(): void {
    this.#connectAtMs = this.#isConnected ? 0 : this.#clock.nowMs() + connectAgainMs
    this.#isConnected = false
    this.#inFlightCount = 0
    this.#keepAliveTimer?.cancel()
    this.#answerTimer?.cancel()
  }

  #onBytes(bytes: Buffer): void {
    this.#parser.parse(bytes)
    this.#takeDue()
    this.#publish()
  }

  #onPacket(packet: Packet): void {
    switch (packet.cmd) {
      case 'connack':
        this.#onConnack(packet.returnCode ?? 0)
        return
      case 'puback':
        this.#onPuback(packet.messageId ?? 0)
        return
      case 'pingresp':
        this.#answerTimer?.cancel()
        return
      default:
        this.link.reset()
        return
    }
  }

  #onConnack(returnCode: number): void {
    this.#answerTimer?.cancel()
    if (returnCode !== 0) {
      this.refuseCount++
      return
    }
    this.connectCount++
    this.#isConnected = true
    this.#keepAlive()
    this.#publish()
  }

  #onPuback(packetId: number): void {
    const at = this.#queue.findIndex((reading) => reading.packetId === packetId)
    if (at < 0 || at >= this.#inFlightCount) return
    const [reading] = this.#queue.splice(at, 1)
    this.#inFlightCount--
    if (reading === undefined) return
    this.acknowledged.add(reading.n)
    this.#watcher.onAcknowledged?.(reading.n, this.#clock.nowMs() - reading.takenAtMs)
  }

  /** Fills the window, oldest first. After a reconnect that begins with what was in flight before, as its duplicate. */
  #publish(): void {
    if (!this.#isConnected) return
    const { id, topic = `device/${id}/reading` } = this.#options
    while (this.#inFlightCount < Math.min(inFlightMax, this.#queue.length)) {
      const reading = this.#queue[this.#inFlightCount] as Reading
      this.#inFlightCount++
      const dup = reading.sentCount > 0
      if (dup) this.resent.add(reading.n)
      else reading.packetId = this.#nextPacketId()
      reading.sentCount++
      const { packetId: messageId, payload } = reading
      this.#send({ cmd: 'publish', topic, payload, qos: 1, dup, retain: false, messageId })
    }
  }

  /** In turn: long before an identifier comes again, its reading was acknowledged. */
  #nextPacketId(): number {
    this.#lastPacketId = (this.#lastPacketId % 0xffff) + 1
    return this.#lastPacketId
  }

  #keepAlive(): void {
    this.#keepAliveTimer = this.#clock.after(keepAliveSeconds * 500, () => {
      this.#send({ cmd: 'pingreq' })
      this.#awaitAnswer()
      this.#keepAlive()
    })
  }

  #awaitAnswer(): void {
    this.#answerTimer?.cancel()
    this.#answerTimer = this.#clock.after(answerMs, () => this.link.reset())
  }

  #send(packet: Packet): void {
    this.link.send(generate(packet))
  }
}
