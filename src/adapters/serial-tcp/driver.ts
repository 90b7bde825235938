/**
 * Serial ports at another machine (ports/serial.ts): `tcp://host:port` carries the bytes and nothing else, as ser2net
 * in raw mode does; `rfc2217://host:port` also sets the line and follows changes of the rate.
 */
import { Socket } from 'node:net'
import { Failure } from '../../lib/errors.ts'
import type { SerialDriver, SerialLine, SerialOwner, SerialSettings } from '../../ports/serial.ts'
import { escaped, greeting, lineSettings, rateSetting, TelnetDecoder } from './telnet.ts'

const connectMsMax = 5000
const portMax = 65_535
/** Finds out that the other machine is gone. */
const probeAfterMs = 10_000

const remotePath = /^(tcp|rfc2217):\/\/(?:\[([^\]]+)\]|([^:/]+)):(\d{1,5})\/?$/

/** Whether `path` is one of ours. */
export function isRemotePath(path: string): boolean {
  return /^[a-z0-9]+:\/\//.test(path)
}

export class TcpSerialDriver implements SerialDriver {
  open(settings: SerialSettings, owner: SerialOwner): SerialLine {
    return new TcpLine(settings, owner)
  }
}

class TcpLine implements SerialLine {
  readonly #settings: SerialSettings
  readonly #owner: SerialOwner
  readonly #socket: Socket
  readonly #telnet: TelnetDecoder | undefined
  #isOpen = false
  #isAskedFor = false
  #reason: string | undefined

  constructor(settings: SerialSettings, owner: SerialOwner) {
    this.#settings = settings
    this.#owner = owner
    const [, scheme, host6, host4 = host6, port = ''] = remotePath.exec(settings.path) ?? []
    this.#telnet = scheme === 'rfc2217' ? new TelnetDecoder() : undefined
    this.#socket = new Socket()
    if (host4 !== undefined && Number(port) <= portMax) {
      this.#socket.connect({ host: host4, port: Number(port), noDelay: true })
    } else {
      setImmediate(() => this.#giveUp('expected tcp://host:port or rfc2217://host:port'))
    }
    this.#socket.setTimeout(connectMsMax, () => this.#giveUp('no answer'))
    this.#socket.on('connect', () => this.#onConnect())
    this.#socket.on('data', (chunk) => this.#onData(chunk))
    this.#socket.on('end', () => this.#socket.destroy())
    this.#socket.on('error', (error) => {
      this.#reason = error.message
    })
    this.#socket.on('close', () => this.#onClose())
  }

  get bufferedByteCount(): number {
    return this.#isOpen ? this.#socket.writableLength : 0
  }

  write(bytes: Buffer): void {
    if (this.#isOpen) this.#socket.write(this.#telnet === undefined ? bytes : escaped(bytes))
  }

  changeRate(baudRate: number): void {
    if (this.#isOpen && this.#telnet !== undefined) this.#socket.write(rateSetting(baudRate))
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  close(): void {
    this.#isAskedFor = true
    if (this.#isOpen) this.#socket.end()
    // Whoever does not close his side gets no say in ours.
    setImmediate(() => this.#socket.destroySoon())
  }

  #onConnect(): void {
    if (this.#isAskedFor) return
    this.#socket.setTimeout(0)
    this.#socket.setKeepAlive(true, probeAfterMs)
    const { baudRate, resetOnOpen } = this.#settings
    if (this.#telnet !== undefined) this.#socket.write(Buffer.concat([greeting(), lineSettings(baudRate, resetOnOpen)]))
    this.#isOpen = true
    this.#owner.onOpen()
  }

  #onData(chunk: Buffer): void {
    const plain = this.#telnet?.push(chunk, (answer) => this.#socket.write(answer)) ?? chunk
    if (plain.length > 0 && this.#isOpen) this.#owner.receive(plain)
  }

  #giveUp(reason: string): void {
    this.#reason = reason
    this.#socket.destroy()
  }

  #onClose(): void {
    const code = this.#isOpen ? 'ERR_SERIAL_CLOSED' : 'ERR_SERIAL_OPEN'
    this.#isOpen = false
    const { path } = this.#settings
    const detail = this.#reason === undefined ? path : `${path}: ${this.#reason}`
    this.#owner.onClosed(this.#isAskedFor ? undefined : new Failure(code, detail))
  }
}
