/**
 * Real serial ports (ports/serial.ts) through the binding of package `serialport`: it knows baud rates and locks on
 * every platform. Reading and writing are ours, because both its stream and its read end badly on an unplug: a read of
 * zero bytes, which is how Linux says that a tty is gone, makes it call itself without end.
 *
 * The descriptor does not block: the poller tells when it is readable or writable, and the call after that returns at
 * once. The package is loaded with the first port, so that a gateway without any does not pay for it.
 */
import { execFile } from 'node:child_process'
import { readSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { SerialPort } from 'serialport'
import { Failure } from '../../lib/errors.ts'
import type { SerialDriver, SerialLine, SerialOwner, SerialSettings } from '../../ports/serial.ts'

type OpenPort = Awaited<ReturnType<typeof SerialPort.binding.open>>
/** A port of a platform with descriptors: Linux and macOS. */
type UnixPort = Extract<OpenPort, { readonly poller: unknown }>

const readBytesMax = 4096

/** Events as bits, as the poller takes them. */
const readable = 1
const writable = 2

export class SerialPortDriver implements SerialDriver {
  open(settings: SerialSettings, owner: SerialOwner): SerialLine {
    return new PortLine(settings, owner)
  }
}

type State =
  | { readonly at: 'opening' }
  | { readonly at: 'open'; readonly port: UnixPort; readonly fd: number }
  | { readonly at: 'closing' }

class PortLine implements SerialLine {
  readonly #settings: SerialSettings
  readonly #owner: SerialOwner
  readonly #chunk = Buffer.allocUnsafeSlow(readBytesMax)
  #state: State = { at: 'opening' }
  /** Bytes, and rates to change to in between. */
  #unwritten: (Buffer | number)[] = []
  #unwrittenByteCount = 0
  #isWritePending = false
  #isPaused = false
  #isReadPending = false
  #rateChange: Promise<void> | undefined

  constructor(settings: SerialSettings, owner: SerialOwner) {
    this.#settings = settings
    this.#owner = owner
    void this.#open()
  }

  get bufferedByteCount(): number {
    return this.#unwrittenByteCount
  }

  write(bytes: Buffer): void {
    if (this.#state.at !== 'open' || bytes.length === 0) return
    this.#unwritten.push(bytes)
    this.#unwrittenByteCount += bytes.length
    this.#flush()
  }

  changeRate(baudRate: number): void {
    if (this.#state.at !== 'open') return
    this.#unwritten.push(baudRate)
    this.#flush()
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#awaitBytes()
  }

  close(): void {
    const state = this.#state
    this.#state = { at: 'closing' } // First, because closing calls back those who wait for the poller.
    if (state.at === 'open') void this.#close(state.port, undefined)
  }

  async #open(): Promise<void> {
    const { path, baudRate, resetOnOpen } = this.#settings
    let port: OpenPort
    try {
      // As the CommonJS module that it is: importing it would cost megabytes for finding out its exports.
      const { SerialPort } = createRequire(import.meta.url)('serialport') as typeof import('serialport')
      port = await SerialPort.binding.open({ path, baudRate, lock: true, hupcl: resetOnOpen })
    } catch (error) {
      const isAskedFor = this.#state.at === 'closing'
      this.#state = { at: 'closing' }
      this.#owner.onClosed(isAskedFor ? undefined : openFailure(path, error))
      return
    }
    if (this.#state.at === 'closing') return this.#close(port, undefined)
    if (!('poller' in port) || port.fd === null) {
      return this.#close(port, new Failure('ERR_SERIAL_OPEN', `${path}: not supported on ${process.platform}`))
    }
    if (!resetOnOpen) keepModemLines(path)
    this.#state = { at: 'open', port, fd: port.fd }
    this.#owner.onOpen()
    this.#awaitBytes()
  }

  #awaitBytes(): void {
    if (this.#isPaused || this.#isReadPending) return
    this.#isReadPending = true
    this.#await('readable', (port, fd) => {
      this.#isReadPending = false
      if (this.#isPaused) return
      this.#read(port, fd)
      this.#awaitBytes()
    })
  }

  #awaitRoom(): void {
    this.#isWritePending = true
    this.#await('writable', () => {
      this.#isWritePending = false
      this.#flush()
    })
  }

  #await(event: 'readable' | 'writable', task: (port: UnixPort, fd: number) => void): void {
    const state = this.#state
    if (state.at !== 'open') return
    // The poller calls from outside of any turn of the event loop: what is thrown or scheduled there would get lost.
    state.port.poller.once(event, (error) => {
      setImmediate(() => {
        if (this.#state !== state) return
        if (error) this.#fail(state.port, error)
        else task(state.port, state.fd)
      })
    })
    // Waiting for one event made the poller forget the other.
    state.port.poller.poll((this.#isReadPending ? readable : 0) | (this.#isWritePending ? writable : 0))
  }

  #read(port: UnixPort, fd: number): void {
    let byteCount: number
    try {
      byteCount = readSync(fd, this.#chunk, 0, readBytesMax, null)
    } catch (error) {
      if (!isTransient(error)) this.#fail(port, error)
      return
    }
    if (byteCount === 0) this.#fail(port, undefined)
    else this.#owner.receive(this.#chunk.subarray(0, byteCount))
  }

  /** Writes what the system takes now and waits for it to take more. */
  #flush(): void {
    const state = this.#state
    while (state.at === 'open' && !this.#isWritePending && this.#rateChange === undefined) {
      const bytes = this.#unwritten[0]
      if (bytes === undefined) return
      if (typeof bytes === 'number') {
        this.#unwritten.shift()
        this.#rateChange = this.#changeTo(state.port, bytes)
        return
      }
      try {
        this.#drop(writeSync(state.fd, bytes))
      } catch (error) {
        if (isTransient(error)) this.#awaitRoom()
        else this.#failLater(state.port, error)
        return
      }
    }
  }

  /** Takes `byteCount` bytes that were written off the queue. */
  #drop(byteCount: number): void {
    const bytes = this.#unwritten[0] as Buffer
    this.#unwrittenByteCount -= byteCount
    if (byteCount === bytes.length) this.#unwritten.shift()
    else this.#unwritten[0] = bytes.subarray(byteCount)
  }

  /** Waits until the UART has sent what it has; what is written meanwhile waits here. */
  async #changeTo(port: UnixPort, baudRate: number): Promise<void> {
    try {
      await port.drain()
      await port.update({ baudRate })
    } catch (error) {
      this.#failLater(port, error)
    }
    this.#rateChange = undefined
    this.#flush()
  }

  /** A failed write closes the port after the call that wrote: the owner is not called inside its own. */
  #failLater(port: UnixPort, error: unknown): void {
    setImmediate(() => {
      if (this.#state.at === 'open') this.#fail(port, error)
    })
  }

  #fail(port: UnixPort, error: unknown): void {
    this.#state = { at: 'closing' }
    void this.#close(port, new Failure('ERR_SERIAL_CLOSED', this.#settings.path, error))
  }

  /** Frees descriptor and lock, then tells the owner. Called once, by whoever set `closing`. */
  async #close(port: OpenPort, failure: Failure | undefined): Promise<void> {
    this.#unwritten = []
    this.#unwrittenByteCount = 0
    try {
      await this.#rateChange // It holds the descriptor.
      await port.close()
    } catch (error) {
      failure ??= new Failure('ERR_SERIAL_CLOSED', this.#settings.path, error)
    }
    this.#owner.onClosed(failure)
  }
}

/**
 * Clears the flag that drops DTR, and so resets an Arduino, when the port is closed; the binding can only set it.
 * Without `stty` the device merely resets when it is opened the next time.
 */
function keepModemLines(path: string): void {
  execFile('stty', ['-F', path, '-hupcl'], () => undefined)
}

function isTransient(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'EAGAIN' || code === 'EWOULDBLOCK' || code === 'EINTR'
}

/** `/dev/ttyUSB0: Permission denied`, whatever the binding wrote around it. */
function openFailure(path: string, error: unknown): Failure {
  const text = error instanceof Error ? error.message : String(error)
  if (/cannot lock port/i.test(text)) return new Failure('ERR_SERIAL_IN_USE', path, error)
  const words = text.replace(/^Error:? /, '').replace(`, cannot open ${path}`, '')
  return new Failure('ERR_SERIAL_OPEN', `${path}: ${words}`, error)
}
