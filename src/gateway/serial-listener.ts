/**
 * One serial port of the gateway: opens it, again and again while it is absent, runs the serial link on it, and
 * presents every conversation with the device to the broker as a connection. At most one connection is open; the old
 * one is closed before the next is presented.
 *
 *   idle ──start()──> opening ──onOpen──> open ──onClosed──> waiting ──> opening …        stop() from any: ──> stopped
 */
import { Failure } from '../lib/errors.ts'
import type { Clock, ClockQuality, Timer } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
import type { Random } from '../ports/random.ts'
import type { SerialDriver, SerialLine, SerialSettings } from '../ports/serial.ts'
import type { Acceptor, ListenerTraits } from '../ports/transport.ts'
import type { LinkHello } from './link-hello.ts'
import { SerialConnection } from './serial-connection.ts'
import { type DownReason, type LinkCounters, SerialLink } from './serial-link.ts'

export interface SerialListenerParts {
  readonly driver: SerialDriver
  readonly acceptor: Acceptor
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Without it the time that devices are told counts as kept. */
  readonly clockQuality?: () => ClockQuality
}

export interface SerialPortSettings extends SerialSettings {
  /** undefined = the rate does not change */
  readonly baudRateMax?: number | undefined
}

export interface SerialCounters extends LinkCounters {
  /** Times that the port was opened. */
  readonly openCount: number
  /** Frames lost because the system took no more bytes. */
  readonly overrunCount: number
}

/** Tries to open come after this time, doubled up to the longest until the device has answered. */
const retryShortestMs = 200
const retryLongestMs = 5000

/** A port that takes nothing, for whatever reason, costs no more memory than this. */
const unwrittenBytesMax = 16_384

type State =
  | { readonly at: 'idle' }
  | { readonly at: 'opening' | 'open'; readonly line: SerialLine }
  | { readonly at: 'waiting'; readonly retry: Timer }
  | { readonly at: 'stopped' }

export class SerialListener {
  readonly #settings: SerialPortSettings
  readonly #traits: ListenerTraits
  readonly #parts: SerialListenerParts
  readonly #link: SerialLink
  #state: State = { at: 'idle' }
  #connection: SerialConnection | undefined
  #retryMs = retryShortestMs
  /** Why the port is absent; undefined while it is there. */
  #absence: Failure | undefined
  #openCount = 0
  #overrunCount = 0
  #onLineClosed: (() => void) | undefined
  #stopping: Promise<void> | undefined

  constructor(settings: SerialPortSettings, traits: ListenerTraits, parts: SerialListenerParts) {
    this.#settings = settings
    this.#traits = traits
    this.#parts = parts
    const owner = {
      write: (bytes: Buffer) => this.#write(bytes),
      onUp: (peer: LinkHello) => this.#onUp(peer),
      onBytes: (chunk: Buffer) => this.#connection?.onBytes(chunk),
      onDrain: () => this.#connection?.onDrain(),
      onDown: (reason: DownReason) => this.#onDown(reason),
      onLog: (text: Buffer) => this.#onLog(text),
    }
    this.#link = new SerialLink('host', settings.baudRate, owner, parts.clock, parts.random, {
      baudRateMax: settings.baudRateMax,
      changeRate: (baudRate) => this.#changeRate(baudRate),
      ...(parts.clockQuality === undefined ? {} : { clockQuality: parts.clockQuality }),
    })
  }

  /** Numbers for metrics; they only rise. */
  get counters(): SerialCounters {
    return { ...this.#link.counters, openCount: this.#openCount, overrunCount: this.#overrunCount }
  }

  /** `silent`: the port is open but no device answers. */
  get status(): 'absent' | 'silent' | 'up' {
    if (this.#state.at !== 'open') return 'absent'
    return this.#link.at === 'open' ? 'up' : 'silent'
  }

  /** Called once. An absent port is logged and waited for, never an error. */
  start(): void {
    this.#open()
  }

  /** Closes the connection and the port; resolves once both are closed. What the broker wants to say goes before. */
  stop(): Promise<void> {
    this.#stopping ??= new Promise((resolve) => {
      this.#onLineClosed = resolve
      const state = this.#state
      if (state.at === 'opening' || state.at === 'open') {
        this.#link.leave()
        state.line.close()
        return
      }
      if (state.at === 'waiting') state.retry.cancel()
      this.#finishStop()
    })
    return this.#stopping
  }

  #open(): void {
    const line = this.#parts.driver.open(this.#settings, {
      onOpen: () => this.#onOpen(line),
      receive: (chunk) => this.#link.receive(chunk),
      onClosed: (failure) => this.#onClosed(failure),
    })
    this.#state = { at: 'opening', line }
  }

  #onOpen(line: SerialLine): void {
    this.#state = { at: 'open', line }
    this.#openCount++
    this.#absence = undefined
    this.#parts.log.info({ path: this.#settings.path, baudRate: this.#settings.baudRate }, 'serial device present')
    if (this.#stopping === undefined) this.#link.open()
  }

  #onClosed(failure: Failure | undefined): void {
    this.#link.close()
    this.#closeConnection(failure)
    if (this.#stopping !== undefined) {
      this.#finishStop()
      return
    }
    this.#logAbsence(failure ?? new Failure('ERR_SERIAL_CLOSED', this.#settings.path))
    const retry = this.#parts.clock.after(this.#retryMs, () => this.#open())
    this.#retryMs = Math.min(retryLongestMs, this.#retryMs * 2)
    this.#state = { at: 'waiting', retry }
  }

  #finishStop(): void {
    this.#state = { at: 'stopped' }
    this.#onLineClosed?.()
  }

  /** One line per absence, and one more when the reason changes: a port that is there but forbidden needs another cure. */
  #logAbsence(failure: Failure): void {
    const before = this.#absence
    this.#absence = failure
    // That an unplugged port cannot be opened is no news.
    if (before?.code === 'ERR_SERIAL_CLOSED' || before?.message === failure.message) return
    this.#parts.log.warn({ path: this.#settings.path, reason: failure.line }, 'serial device absent')
  }

  #write(bytes: Buffer): void {
    const state = this.#state
    if (state.at !== 'open') return
    // The link repeats what is lost, so a line that is stuck may lose frames.
    if (state.line.bufferedByteCount + bytes.length > unwrittenBytesMax) this.#overrunCount++
    else state.line.write(bytes)
  }

  #changeRate(baudRate: number): void {
    if (this.#state.at !== 'open') return
    this.#state.line.changeRate(baudRate)
    this.#parts.log.info({ path: this.#settings.path, baudRate }, 'serial baud rate changed')
  }

  #onUp(peer: LinkHello): void {
    const { path } = this.#settings
    this.#retryMs = retryShortestMs
    this.#closeConnection(undefined)
    this.#parts.log.info(
      { path, deviceId: peer.deviceId, firmware: peer.firmware, resetReason: peer.resetReason },
      'serial link up',
    )
    const connection = new SerialConnection(path, this.#link, this.#parts.clock)
    this.#connection = connection
    connection.bind(this.#parts.acceptor.accept(connection, this.#traits))
  }

  #onDown(reason: DownReason): void {
    this.#parts.log.info({ path: this.#settings.path, reason }, 'serial link down')
    this.#closeConnection(new Failure('ERR_LINK_CLOSED', `${this.#settings.path}: ${reason}`))
  }

  #closeConnection(failure: Failure | undefined): void {
    const connection = this.#connection
    this.#connection = undefined
    connection?.onClosed(failure)
  }

  #onLog(text: Buffer): void {
    this.#parts.log.debug({ path: this.#settings.path, text: text.toString('utf8') }, 'serial device says')
  }
}
