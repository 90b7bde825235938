/**
 * Pseudo-random numbers from a seed, so that every simulated fault and every run can be repeated: same seed, same
 * sequence, on every machine. Not for secrets.
 */
export class SeededRandom {
  #state: number

  /** @param seed any integer; its low 32 bits count. */
  constructor(seed: number) {
    this.#state = seed | 0
  }

  /** A float in [0, 1). */
  next(): number {
    return this.uint32() / 0x1_0000_0000
  }

  /** An integer in [0, `limit`). */
  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  /** An integer in [0, 2^32): a counter with an odd stride, mixed until every output bit depends on all of its bits. */
  uint32(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
    return (mixed ^ (mixed >>> 16)) >>> 0
  }

  bytes(byteCount: number): Buffer {
    const bytes = Buffer.alloc(byteCount)
    for (let at = 0; at < byteCount; at++) bytes[at] = this.uint32() & 0xff
    return bytes
  }

  /** `byteCount` bytes as lower-case hex. */
  hex(byteCount: number): string {
    return this.bytes(byteCount).toString('hex')
  }
}
