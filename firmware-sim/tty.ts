/**
 * The UART of a simulated device: a tty, opened without any help of the gateway's driver, and opened again whenever
 * it comes back. Like a UART it never blocks: bytes that the tty does not take are lost.
 */
import { execFile } from 'node:child_process'
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs'
import { ReadStream } from 'node:tty'
import { promisify } from 'node:util'

const run = promisify(execFile)
const openAgainMs = 100
const flags = constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK

export class DeviceTty {
  /** Bytes lost because nobody read them at the other end, or nothing was there. */
  lostByteCount = 0
  readonly #path: string
  readonly #baudRate: number
  readonly #onBytes: (chunk: Buffer) => void
  #open: { readonly fd: number; readonly reader: ReadStream } | undefined
  #isClosed = false
  #retry: NodeJS.Timeout | undefined

  constructor(path: string, baudRate: number, onBytes: (chunk: Buffer) => void) {
    this.#path = path
    this.#baudRate = baudRate
    this.#onBytes = onBytes
    void this.#tryOpen()
  }

  get isOpen(): boolean {
    return this.#open !== undefined
  }

  write(bytes: Buffer): void {
    let writtenByteCount = 0
    try {
      if (this.#open !== undefined) writtenByteCount = writeSync(this.#open.fd, bytes)
    } catch (error) {
      // A full or vanished tty loses the bytes; that it vanished, the reader finds out.
      if (!isTtyFault(error)) throw error
    }
    this.lostByteCount += bytes.length - writtenByteCount
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#retry)
    this.#open?.reader.destroy()
  }

  async #tryOpen(): Promise<void> {
    let fd: number | undefined
    try {
      fd = openSync(this.#path, flags)
      await run('stty', ['-F', this.#path, 'raw', '-echo', String(this.#baudRate)])
    } catch {
      if (fd !== undefined) closeSync(fd)
      this.#tryLater()
      return
    }
    if (this.#isClosed) closeSync(fd)
    else this.#listen(fd)
  }

  #listen(fd: number): void {
    const { dev, ino } = fstatSync(fd)
    const reader = new ReadStream(fd)
    this.#open = { fd, reader }
    reader.on('data', (chunk: Buffer) => this.#onBytes(chunk))
    reader.on('error', () => reader.destroy())
    reader.on('end', () => reader.destroy())
    reader.on('close', () => {
      this.#open = undefined
      // The stream opens the tty once more for itself where it can, and then leaves our descriptor to us.
      if (isSameFile(fd, dev, ino)) closeSync(fd)
      this.#tryLater()
    })
  }

  #tryLater(): void {
    if (!this.#isClosed) this.#retry = setTimeout(() => void this.#tryOpen(), openAgainMs)
  }
}

function isSameFile(fd: number, dev: number, ino: number): boolean {
  try {
    const now = fstatSync(fd)
    return now.dev === dev && now.ino === ino
  } catch {
    return false
  }
}

function isTtyFault(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ['EAGAIN', 'EIO', 'ENXIO', 'EBADF'].includes(String(error.code))
}
