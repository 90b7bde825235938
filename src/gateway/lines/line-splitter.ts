/** Bytes -> lines. Ends at LF, drops CR before it; holds at most `lineBytesMax` bytes and drops longer lines whole. */
export class LineSplitter {
  readonly #partial: Buffer
  #byteCount = 0
  #isOverlong = false

  constructor(lineBytesMax: number) {
    this.#partial = Buffer.allocUnsafeSlow(lineBytesMax)
  }

  /**
   * @param onLine its line is borrowed; empty lines are not told
   * @param onOverlong gets the beginning of a line that was dropped
   */
  push(chunk: Buffer, onLine: (line: Buffer) => void, onOverlong: (start: Buffer) => void): void {
    let from = 0
    for (;;) {
      const end = chunk.indexOf(lineFeed, from)
      if (end < 0) break
      this.#keep(chunk, from, end)
      this.flush(onLine, onOverlong)
      from = end + 1
    }
    this.#keep(chunk, from, chunk.length)
  }

  /** What is held counts as a line. */
  flush(onLine: (line: Buffer) => void, onOverlong: (start: Buffer) => void): void {
    let { length } = this.#partial.subarray(0, this.#byteCount)
    while (length > 0 && this.#partial[length - 1] === carriageReturn) length--
    const line = this.#partial.subarray(0, length)
    const isOverlong = this.#isOverlong
    this.clear()
    if (isOverlong) onOverlong(line)
    else if (length > 0) onLine(line)
  }

  clear(): void {
    this.#byteCount = 0
    this.#isOverlong = false
  }

  #keep(chunk: Buffer, from: number, to: number): void {
    if (this.#byteCount + to - from > this.#partial.length) this.#isOverlong = true
    this.#byteCount += chunk.copy(this.#partial, this.#byteCount, from, to)
  }
}

const lineFeed = 0x0a
const carriageReturn = 0x0d
