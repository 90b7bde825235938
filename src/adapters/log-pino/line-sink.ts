/**
 * Where log lines leave the process: a file descriptor, written at once, because the last line before a crash is the
 * one that matters. A log that cannot be written (full disk, closed pipe, a reader that is stuck) must never stop or
 * swell the broker: at most one line waits, later ones are counted and the count is the first line that gets through.
 */
import { writeSync } from 'node:fs'

const nothing = Buffer.alloc(0)

export class LineSink {
  readonly #fd: number
  readonly #format: (json: string) => string
  /** What is not out yet of the last line that was taken. */
  #rest: Buffer = nothing
  #lostCount = 0

  /** @param format makes the text that is written out of pino's JSON */
  constructor(fd: number, format: (json: string) => string) {
    this.#fd = fd
    this.#format = format
  }

  /** Called by pino with each line. */
  write(json: string): void {
    if (!this.flush()) {
      this.#lostCount++
      return
    }
    this.#rest = Buffer.from(this.#lossNotice() + this.#format(json))
    this.flush()
  }

  /** false while something waits. */
  flush(): boolean {
    try {
      while (this.#rest.length > 0) this.#rest = this.#rest.subarray(writeSync(this.#fd, this.#rest))
      return true
    } catch {
      return false // Whatever the reason is, there is no other place to tell it.
    }
  }

  #lossNotice(): string {
    if (this.#lostCount === 0) return ''
    const fields = { level: 'warn', time: new Date().toISOString(), count: this.#lostCount, msg: 'log lines lost' }
    this.#lostCount = 0
    return this.#format(`${JSON.stringify(fields)}\n`)
  }
}
