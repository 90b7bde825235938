/**
 * One serial port of the gateway: opens it, again and again while it is absent, and lets its head (port-head.ts) speak
 * the protocol. A port that opens and closes without ever making sense is parked, for longer each time.
 *
 *   idle ──start()──> opening ──onOpen──> open ──onClosed──> waiting ──> opening …        stop() from any: ──> stopped
 */
import { Failure } from '../lib/errors.ts'
import type { Clock, ClockQuality, Timer } from '../ports/clock.ts'
import type { HouseVoice } from '../ports/local.ts'
import type { Log } from '../ports/log.ts'
import type { Random } from '../ports/random.ts'
import type { SerialDriver, SerialLine, SerialSettings } from '../ports/serial.ts'
import type { Acceptor, ListenerTraits } from '../ports/transport.ts'
import { LineLoad } from './line-load.ts'
import { type HeadSettings, lineDefaults, makeHead, type PortProtocol } from './make-head.ts'
import type { HeadCounters, HeadState, PortHead } from './port-head.ts'
import { type Availability, PortReport } from './port-report.ts'
import { PortTap } from './port-tap.ts'
import { acceptLimited } from './rate-limited-link.ts'

export interface SerialListenerParts {
  readonly driver: SerialDriver
  readonly acceptor: Acceptor
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Without it nothing is told below `$edge`. */
  readonly voice?: HouseVoice
  /** Without it the time that devices are told counts as kept. */
  readonly clockQuality?: () => ClockQuality
}

/** What is left out has the default of the settings. */
export interface SerialPortSettings extends SerialSettings, Partial<Omit<HeadSettings, keyof SerialSettings>> {
  /** Bytes and messages that the device may send in a second. */
  readonly byteRateMax?: number | undefined
  readonly messageRateMax?: number | undefined
}

export interface SerialCounters extends HeadCounters {
  /** Times that the port was opened. */
  readonly openCount: number
  /** Writes lost because the system took no more bytes. */
  readonly overrunCount: number
  readonly receivedByteCount: number
  readonly writtenByteCount: number
}

/** A port as it is told to people. */
export interface PortStatus extends SerialCounters {
  readonly name: string
  readonly path: string
  readonly protocol: PortProtocol
  readonly availability: Availability | undefined
  /** Share of what the line can carry, of the busier direction, lately. */
  readonly loadPercent: number
  /** What the device says of itself, and how the link is, where there is one. */
  readonly deviceId?: string
  readonly roundTripP50Ms?: number
  readonly roundTripP99Ms?: number
}

/** Tries to open come after this time, doubled up to the longest until the device has made sense. */
const retryShortestMs = 200
const retryLongestMs = 5000

/** So many openings in a row without anything that made sense, and the port is left alone, for longer each time. */
const fruitlessMax = 5
const parkedShortestMs = 60_000
const parkedLongestMs = 600_000

const reportIntervalMs = 60_000

/** A port that takes nothing, for whatever reason, costs no more memory than this. */
const unwrittenBytesMax = 16_384

/** These names go to whoever is plugged in first. */
const passingName = /^\/dev\/tty(USB|ACM)\d+$/

type State =
  | { readonly at: 'idle' }
  | { readonly at: 'opening' | 'open'; readonly line: SerialLine }
  | { readonly at: 'waiting'; readonly retry: Timer }
  | { readonly at: 'stopped' }

export class SerialListener {
  readonly #settings: SerialPortSettings
  readonly #parts: SerialListenerParts
  readonly #head: PortHead
  readonly #report: PortReport
  readonly #load: LineLoad
  /** For who watches the port while the gateway has it. */
  readonly tap: PortTap
  readonly name: string
  #state: State = { at: 'idle' }
  #headState: HeadState = 'silent'
  #retryMs = retryShortestMs
  #fruitlessCount = 0
  #unitCountAtOpen = 0
  /** Why the port is absent; undefined while it is there. */
  #absence: Failure | undefined
  #openCount = 0
  #overrunCount = 0
  #reportTimer: Timer | undefined
  #onLineClosed: (() => void) | undefined
  #stopping: Promise<void> | undefined

  constructor(settings: SerialPortSettings, traits: ListenerTraits, parts: SerialListenerParts) {
    this.#settings = settings
    this.#parts = parts
    const { acceptor, clock, random, log, clockQuality } = parts
    const { protocol = 'link' } = settings
    const name = settings.name ?? settings.path.slice(settings.path.lastIndexOf('/') + 1)
    this.name = name
    this.tap = new PortTap(protocol, clock)
    this.#load = new LineLoad(settings.baudRate, clock)
    this.#report = new PortReport(name, settings.path, clock, log, parts.voice)
    const limits = {
      bytesMax: settings.byteRateMax ?? Number.POSITIVE_INFINITY,
      messagesMax: settings.messageRateMax ?? Number.POSITIVE_INFINITY,
    }
    this.#head = makeHead(
      {
        ...settings,
        name,
        baudRateMax: settings.baudRateMax,
        protocol,
        deviceIds: settings.deviceIds ?? [],
        addresses: settings.addresses ?? [],
        lines: settings.lines ?? lineDefaults,
      },
      {
        port: this,
        accept: (link) => acceptLimited(acceptor, link, traits, limits, clock),
        clock,
        random,
        report: this.#report,
        clockQuality,
      },
    )
  }

  /** Numbers for metrics; they only rise. */
  get counters(): SerialCounters {
    const { receivedByteCount, writtenByteCount } = this.#load
    return {
      ...this.#head.counters,
      openCount: this.#openCount,
      overrunCount: this.#overrunCount,
      receivedByteCount,
      writtenByteCount,
    }
  }

  get told(): PortStatus {
    const { path, protocol = 'link' } = this.#settings
    const { availability } = this.#report
    const loadPercent = this.#load.percent
    return { name: this.name, path, protocol, availability, ...this.#head.facts, loadPercent, ...this.counters }
  }

  /** `silent`: the port is open but no device answers. */
  get status(): 'absent' | 'parked' | HeadState {
    if (this.#state.at === 'open') return this.#headState
    return this.#isParked ? 'parked' : 'absent'
  }

  /** Called once. An absent port is logged and waited for, never an error. */
  start(): void {
    const { path } = this.#settings
    if (passingName.test(path)) {
      this.#parts.log.warn({ path }, 'serial path may be another device after the next plug: see tidegate serial list')
    }
    this.#reportTimer = this.#parts.clock.after(reportIntervalMs, () => this.#onReportDue())
    this.#open()
  }

  /** Closes the connection and the port; resolves once both are closed. What the broker wants to say goes before. */
  stop(): Promise<void> {
    this.#stopping ??= new Promise((resolve) => {
      this.#onLineClosed = resolve
      this.#reportTimer?.cancel()
      const state = this.#state
      if (state.at === 'opening' || state.at === 'open') {
        this.#head.leave()
        state.line.close()
        return
      }
      if (state.at === 'waiting') state.retry.cancel()
      this.#finishStop()
    })
    return this.#stopping
  }

  // ---- as the head sees the port ----

  write(bytes: Buffer): void {
    const state = this.#state
    if (state.at !== 'open') return
    // The link repeats what is lost, so a line that is stuck may lose frames.
    if (state.line.bufferedByteCount + bytes.length > unwrittenBytesMax) {
      this.#overrunCount++
      return
    }
    this.#load.onWritten(bytes.length)
    this.tap.fromGateway(bytes)
    state.line.write(bytes)
  }

  get unwrittenByteCount(): number {
    return this.#state.at === 'open' ? this.#state.line.bufferedByteCount : 0
  }

  changeRate(baudRate: number): void {
    if (this.#state.at !== 'open') return
    this.#state.line.changeRate(baudRate)
    this.#load.changeRate(baudRate)
    this.#report.line('info', { baudRate }, 'serial baud rate changed')
  }

  pause(): void {
    if (this.#state.at === 'open') this.#state.line.pause()
  }

  resume(): void {
    if (this.#state.at === 'open') this.#state.line.resume()
  }

  onState(state: HeadState): void {
    this.#headState = state
    if (state !== 'silent') this.#retryMs = retryShortestMs
    if (this.#state.at === 'open') this.#become(availabilities[state])
  }

  onLog(text: Buffer): void {
    this.#report.text(text)
  }

  // ---- the line ----

  #open(): void {
    const line = this.#parts.driver.open(this.#settings, {
      onOpen: () => this.#onOpen(line),
      receive: (chunk) => this.#receive(chunk),
      onClosed: (failure) => this.#onClosed(failure),
    })
    this.#state = { at: 'opening', line }
  }

  #receive(chunk: Buffer): void {
    this.#load.onReceived(chunk.length)
    this.tap.fromDevice(chunk)
    this.#head.receive(chunk)
  }

  #onOpen(line: SerialLine): void {
    this.#load.changeRate(this.#settings.baudRate)
    this.#state = { at: 'open', line }
    this.#openCount++
    this.#absence = undefined
    this.#headState = 'silent'
    this.#unitCountAtOpen = this.#head.counters.unitCount
    if (!this.#isParked) this.#report.line('info', { baudRate: this.#settings.baudRate }, 'serial device present')
    if (this.#stopping !== undefined) return
    this.#become('silent')
    this.#head.open()
  }

  #onClosed(failure: Failure | undefined): void {
    const wasOpen = this.#state.at === 'open'
    this.#head.close(failure)
    if (this.#stopping !== undefined) {
      this.#finishStop()
      return
    }
    if (wasOpen) {
      const madeSense = this.#head.counters.unitCount > this.#unitCountAtOpen
      this.#fruitlessCount = madeSense ? 0 : this.#fruitlessCount + 1
    }
    this.#logAbsence(failure ?? new Failure('ERR_SERIAL_CLOSED', this.#settings.path))
    const delayMs = wasOpen && this.#isParked ? this.#park() : this.#retryMs
    this.#retryMs = Math.min(retryLongestMs, this.#retryMs * 2)
    this.#state = { at: 'waiting', retry: this.#parts.clock.after(delayMs, () => this.#open()) }
    this.#become(this.#isParked ? 'parked' : 'offline')
  }

  get #isParked(): boolean {
    return this.#fruitlessCount >= fruitlessMax
  }

  #park(): number {
    const ms = Math.min(parkedLongestMs, parkedShortestMs * 2 ** (this.#fruitlessCount - fruitlessMax))
    this.#report.line('warn', { count: this.#fruitlessCount, ms }, 'serial port opens and closes: left alone')
    return ms
  }

  #finishStop(): void {
    this.#state = { at: 'stopped' }
    this.#become('offline')
    this.#onLineClosed?.()
  }

  /** One line per absence, and one more when the reason changes: a port that is there but forbidden needs another cure. */
  #logAbsence(failure: Failure): void {
    const before = this.#absence
    this.#absence = failure
    // That an unplugged port cannot be opened is no news.
    if (before?.code === 'ERR_SERIAL_CLOSED' || before?.message === failure.message) return
    if (!this.#isParked) this.#report.line('warn', { reason: failure.line }, 'serial device absent')
  }

  // ---- what is told ----

  #become(availability: Availability): void {
    if (this.#report.become(availability)) this.#tellStatus()
  }

  #tellStatus(): void {
    this.#report.tellStatus(this.told)
  }

  #onReportDue(): void {
    this.#reportTimer = this.#parts.clock.after(reportIntervalMs, () => this.#onReportDue())
    this.#report.judge(this.#head.counters)
    this.#tellStatus()
  }
}

const availabilities: Readonly<Record<HeadState, Availability>> = {
  up: 'online',
  silent: 'silent',
  quarantined: 'quarantined',
}
