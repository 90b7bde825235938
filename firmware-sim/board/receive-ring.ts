/** The receive buffer of a UART: the interrupt puts bytes in, the main loop takes them out, and what finds no room is lost. */
export class ReceiveRing {
  overrunByteCount = 0
  readonly #ring: Buffer
  #at = 0
  #count = 0

  constructor(byteCountMax: number) {
    this.#ring = Buffer.alloc(byteCountMax)
  }

  get byteCount(): number {
    return this.#count
  }

  put(bytes: Buffer): void {
    const taken = Math.min(bytes.length, this.#ring.length - this.#count)
    for (let index = 0; index < taken; index++) {
      this.#ring[(this.#at + this.#count + index) % this.#ring.length] = bytes[index] as number
    }
    this.#count += taken
    this.overrunByteCount += bytes.length - taken
  }

  /** Everything that waits. */
  take(): Buffer {
    const bytes = Buffer.allocUnsafe(this.#count)
    for (let index = 0; index < bytes.length; index++) {
      bytes[index] = this.#ring[(this.#at + index) % this.#ring.length] as number
    }
    this.clear()
    return bytes
  }

  clear(): void {
    this.#at = (this.#at + this.#count) % this.#ring.length
    this.#count = 0
  }
}
