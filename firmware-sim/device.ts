/**
 * A board with a sensor: takes a reading in a fixed rhythm, numbers it, keeps it in flash, and hands it to its protocol
 * head until it is acknowledged. It boots with a banner, takes commands, sleeps, hangs, and loses power at will.
 *
 * The device keeps account of itself, so that a test can compare what it produced with what arrived: a reading is
 * produced, then perhaps sent several times, then acknowledged, or abandoned when a reset takes it.
 */

import { must } from '../src/lib/assert.ts'
import { type CommandedBoard, obey } from './board/commands.ts'
import { DriftingClock } from './board/drifting-clock.ts'
import { Flash } from './board/flash.ts'
import { MainLoop, type MainLoopOptions } from './board/main-loop.ts'
import type { Signal } from './board/signal.ts'
import type { DeviceClock, DeviceTimer } from './clock.ts'
import type { ResetReason } from './device-hello.ts'
import type { Head } from './heads/head.ts'
import { type HeadOptions, makeHead } from './heads/make-head.ts'
import { inFlightDefault, MqttHead } from './heads/mqtt-head.ts'
import { resampled } from './line/uart-sampler.ts'
import { encodeMessage } from './oracle/message.ts'
import type { SeededRandom } from './seeded-random.ts'
import { DeviceLink } from './serial-link.ts'

export interface DeviceOptions extends HeadOptions, MainLoopOptions {
  /** Readings per second; Infinity = as fast as the line takes them. */
  readonly ratePerSecond: number
  /** Readings until the sensor is done; Infinity = never. */
  readonly readingCount: number
  /** `device/<id>/reading` unless given. */
  readonly topic?: string
  /** Payloads are filled up with spaces to this length. */
  readonly payloadBytes?: number
  /** What is measured; without it readings are only numbered. */
  readonly signal?: Signal | undefined
  /** Takes commands on `device/<id>/command` and answers on `device/<id>/answer`. */
  readonly takesCommands?: boolean | undefined
  readonly firmware?: string | undefined
  /** Parts per million by which its crystal is too fast. */
  readonly driftPpm?: number | undefined
  /** Awake for a time, then without power for a time, again and again. */
  readonly sleep?: { readonly awakeMs: number; readonly asleepMs: number } | undefined
  /** The boot loader speaks at this baud rate, which is noise at the other. */
  readonly bootBaudRate?: number | undefined
}

/** What the device is wired to. */
export interface DeviceUart {
  /** Takes ownership of `bytes`. */
  write(bytes: Buffer): void
  /** Forgets what has not left: the power went. */
  clear(): void
  /** Bytes that have not left. */
  readonly bufferedByteCount?: number
}

export interface DeviceWatcher {
  /** Reading `n` was acknowledged, `delayMs` after it was taken. */
  onAcknowledged?(n: number, delayMs: number): void
}

/** Flash of the sensor: it takes no readings while so many wait. */
const queueMax = 100_000
/** After this time whatever was said before a restart has left. */
const restartMs = 200

export class SimulatedDevice implements CommandedBoard {
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
  commandCount = 0
  /** Readings that may be missing because of what was babbled between them. */
  excusedCount = 0
  ratePerSecond: number
  readonly flash: Flash
  readonly loop: MainLoop
  readonly head: Head
  readonly #options: DeviceOptions
  readonly #uart: DeviceUart
  readonly #watcher: DeviceWatcher
  readonly #clock: DeviceClock
  readonly #bornAtMs: number
  #isOn = false
  #sampleTimer: DeviceTimer | undefined
  /** Runs without the main loop: sleep and restart. */
  #powerTimer: DeviceTimer | undefined
  #nextSampleAtMs = 0
  #readingCount: number

  constructor(
    options: DeviceOptions,
    uart: DeviceUart,
    clock: DeviceClock,
    random: SeededRandom,
    watcher: DeviceWatcher = {},
  ) {
    this.#options = options
    this.#uart = uart
    this.#watcher = watcher
    this.#clock = options.driftPpm ? new DriftingClock(clock, options.driftPpm) : clock
    this.#bornAtMs = this.#clock.nowMs()
    this.ratePerSecond = options.ratePerSecond
    this.#readingCount = options.readingCount
    this.flash = new Flash(options.firmware ?? 'firmware-sim')
    this.loop = new MainLoop(options, this.#clock, {
      onBytes: (bytes) => this.head.receive(bytes),
      onBite: () => this.reset('watchdog'),
    })
    const { id, topic = `device/${id}/reading`, takesCommands = false } = options
    this.head = makeHead(
      options,
      {
        clock: this.loop,
        random,
        firmware: () => this.flash.firmware,
        write: (bytes) => uart.write(bytes),
        bufferedByteCount: () => uart.bufferedByteCount ?? 0,
      },
      {
        queue: this.flash.queue,
        topic,
        commandTopic: takesCommands ? `device/${id}/command` : undefined,
        onReady: () => this.connectCount++,
        onRefused: () => this.refuseCount++,
        onResent: ({ n }) => this.resent.add(n),
        onDone: (index) => this.#onDone(index),
        onCut: (n) => this.#onCut(n),
        onCommand: (_topic, payload) => this.#onCommand(payload),
        onProgress: () => this.#onProgress(),
      },
    )
  }

  /** Readings that wait for their acknowledgement, in flight or not. */
  get waitingCount(): number {
    return this.flash.queue.length
  }

  get isConnected(): boolean {
    return this.head.isReady
  }

  get isOn(): boolean {
    return this.#isOn
  }

  /** Every reading was taken, and none waits any more. */
  get isDone(): boolean {
    return this.producedCount >= this.#readingCount && this.waitingCount === 0
  }

  /** Only of a device whose head is `link`. */
  get link(): DeviceLink {
    return must(this.#linkIfAny, 'serial link of the device')
  }

  /** Frames that came damaged and frames sent again, where there are frames. */
  get frameFaults(): { readonly damagedCount: number; readonly resentCount: number } {
    const link = this.#linkIfAny
    return { damagedCount: link?.damagedFrameCount ?? 0, resentCount: link?.resentFrameCount ?? 0 }
  }

  start(): void {
    this.#boot('power-on')
  }

  stop(): void {
    this.#isOn = false
    this.head.powerOff()
    this.loop.powerOff()
    this.#sampleTimer?.cancel()
    this.#powerTimer?.cancel()
  }

  /**
   * Takes the power away for a moment: bytes under way are cut, the link and the MQTT connection are forgotten.
   * The queue is in flash and survives, unless `keepQueue` is false; then its readings are abandoned.
   */
  reset(reason: ResetReason = 'brown-out', keepQueue = true): void {
    this.resetCount++
    this.stop()
    this.head.cut()
    this.#uart.clear()
    if (!keepQueue) for (const { n } of this.flash.erase()) this.abandoned.add(n)
    this.#boot(reason)
  }

  /** Bytes from the line. */
  receive(bytes: Buffer): void {
    this.loop.receive(bytes)
  }

  /** Bytes that no protocol knows. */
  babble(bytes: Buffer): void {
    if (!this.#isOn) return
    this.#uart.write(bytes)
    if (!this.head.isAcknowledged) this.excusedCount++
  }

  /** Takes no more readings; the ones it has are still sent. */
  finish(): void {
    this.#readingCount = this.producedCount
  }

  /** Starts anew, after what is being said has left. */
  restartSoon(): void {
    this.#powerTimer?.cancel()
    this.#powerTimer = this.#clock.after(restartMs, () => this.reset('software'))
  }

  get #linkIfAny(): DeviceLink | undefined {
    const stream = this.head instanceof MqttHead ? this.head.stream : undefined
    return stream instanceof DeviceLink ? stream : undefined
  }

  #boot(reason: ResetReason): void {
    const { id, sleep } = this.#options
    this.#isOn = true
    this.flash.onBoot(reason)
    this.loop.powerOn()
    this.#writeBanner(reason)
    this.head.powerOn(reason)
    this.head.log(`sensor ${id} started: ${reason}`)
    // Readings that fell due without power were not taken.
    this.#nextSampleAtMs = Math.max(this.#nextSampleAtMs, this.#clock.nowMs())
    this.#sample()
    if (sleep !== undefined) this.#powerTimer = this.#clock.after(sleep.awakeMs, () => this.#fallAsleep())
  }

  /** A boot loader speaks before the firmware does, and knows nothing of frames. */
  #writeBanner(reason: ResetReason): void {
    const { head = 'link', baudRate, bootBaudRate = baudRate } = this.#options
    if (head === 'raw' || head === 'tcp') return // It has a console of its own.
    const banner = Buffer.from(`boot: ${reason}\r\n`)
    this.#uart.write(bootBaudRate === baudRate ? banner : resampled(banner, baudRate / bootBaudRate))
  }

  #fallAsleep(): void {
    const { sleep } = this.#options
    this.stop()
    this.#powerTimer = this.#clock.after(sleep?.asleepMs ?? 0, () => this.#boot('software'))
  }

  #sample(): void {
    this.#onProgress()
    if (!Number.isFinite(this.ratePerSecond) || this.producedCount >= this.#readingCount) return
    const waitMs = Math.max(0, this.#nextSampleAtMs - this.#clock.nowMs())
    this.#sampleTimer = this.loop.after(waitMs, () => this.#sample())
  }

  #onProgress(): void {
    this.#takeDue()
    this.head.flush()
  }

  #takeDue(): void {
    const { inFlightMax = inFlightDefault } = this.#options
    const waitingMax = Number.isFinite(this.ratePerSecond) ? queueMax : 2 * inFlightMax
    while (this.producedCount < this.#readingCount && this.waitingCount < waitingMax) {
      if (this.#nextSampleAtMs > this.#clock.nowMs()) return
      this.#take()
      this.#nextSampleAtMs += 1000 / this.ratePerSecond
    }
  }

  #take(): void {
    const n = ++this.producedCount
    const { id: device, payloadBytes, signal } = this.#options
    const v = signal && Number(signal.valueAt(this.#clock.nowMs() - this.#bornAtMs).toFixed(2))
    const payload = encodeMessage({ device, n, t: Math.floor(this.#clock.wallMs()), v }, payloadBytes)
    this.flash.keep({ n, takenAtMs: this.#clock.nowMs(), payload, packetId: 0, sentCount: 0 })
  }

  #onDone(index: number): void {
    const [reading] = this.flash.queue.splice(index, 1)
    if (reading === undefined) return
    this.acknowledged.add(reading.n)
    this.#watcher.onAcknowledged?.(reading.n, this.#clock.nowMs() - reading.takenAtMs)
  }

  #onCut(n: number): void {
    this.acknowledged.delete(n)
    this.abandoned.add(n)
  }

  #onCommand(payload: Buffer): void {
    this.commandCount++
    this.head.say(`device/${this.#options.id}/answer`, obey(this, payload))
  }
}
