/**
 * Where the gateway reaches a line: what it has as `path` of the port, and bytes both ways.
 *
 *   pty    a pty pair of socat; the gateway opens one end as its serial port
 *   tcp    a TCP port, as a serial server in the network offers it; the gateway dials
 */
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { PtyPair } from '../pty.ts'
import { DeviceTty } from '../tty.ts'

export interface LinePort {
  /** What the gateway has as `path` of the port. */
  readonly address: string
  /** Towards the gateway; what nobody takes is lost. */
  write(chunk: Buffer): void
  plugIn(): Promise<void>
  unplug(): Promise<void>
  close(): Promise<void>
}

/** Bytes from the gateway; passes ownership. */
export type OnLineBytes = (chunk: Buffer) => void

export class PtyPort implements LinePort {
  readonly #pty: PtyPair
  readonly #baudRate: number
  readonly #onBytes: OnLineBytes
  #tty: DeviceTty | undefined

  /** @param hostPath where the gateway finds the port; it stays the same over every unplug, as names by id do */
  constructor(hostPath: string, baudRate: number, onBytes: OnLineBytes) {
    this.#pty = new PtyPair(hostPath, `${hostPath}.device`)
    this.#baudRate = baudRate
    this.#onBytes = onBytes
  }

  get address(): string {
    return this.#pty.hostPath
  }

  write(chunk: Buffer): void {
    this.#tty?.write(chunk)
  }

  async plugIn(): Promise<void> {
    const { devicePath, hostPath } = this.#pty
    // What a run that was killed has left behind.
    for (const path of [hostPath, devicePath]) rmSync(path, { force: true })
    await this.#pty.plug()
    this.#tty ??= new DeviceTty(devicePath, this.#baudRate, (chunk) => this.#onBytes(Buffer.from(chunk)))
  }

  unplug(): Promise<void> {
    return this.#pty.unplug()
  }

  async close(): Promise<void> {
    this.#tty?.close()
    await this.#pty.unplug()
  }
}

export class TcpPort implements LinePort {
  readonly #port: number
  readonly #onBytes: OnLineBytes
  readonly #server: Server
  #socket: Socket | undefined
  #isPlugged = false

  constructor(port: number, onBytes: OnLineBytes) {
    this.#port = port
    this.#onBytes = onBytes
    this.#server = createServer({ noDelay: true }, (socket) => this.#onConnection(socket))
  }

  get address(): string {
    return `tcp://127.0.0.1:${this.#port}`
  }

  write(chunk: Buffer): void {
    this.#socket?.write(chunk)
  }

  async plugIn(): Promise<void> {
    this.#isPlugged = true
    if (this.#server.listening) return
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  async unplug(): Promise<void> {
    this.#isPlugged = false
    this.#socket?.destroy()
  }

  async close(): Promise<void> {
    this.#socket?.destroy()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }

  /** A serial server has one line, and the last one who came has it. */
  #onConnection(socket: Socket): void {
    socket.on('error', () => socket.destroy())
    if (!this.#isPlugged) {
      socket.destroy()
      return
    }
    this.#socket?.destroy()
    this.#socket = socket
    socket.on('data', this.#onBytes)
  }
}
