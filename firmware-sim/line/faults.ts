/**
 * What a bad serial line does to bytes. Everything is drawn from a seed in the order of the bytes, so that the same
 * bytes with the same seed are damaged in the same way.
 */
import type { SeededRandom } from '../seeded-random.ts'
import { resampled } from './uart-sampler.ts'

export interface LineFaults {
  readonly random: SeededRandom
  /** Probability that a bit arrives inverted. */
  readonly bitErrorRate?: number
  /** Probabilities per byte: it is lost, it comes twice, one to eight random bytes come before it. */
  readonly dropRate?: number
  readonly duplicateRate?: number
  readonly garbageRate?: number
  /** Probability per byte that interference begins; while it lasts, bytes arrive as anything. */
  readonly burstRate?: number
  readonly burstBytes?: number
  /** Baud rate of the receiver divided by that of the sender; 1 = they agree. */
  readonly baudRatio?: number
  /** The wire does not move. Low is a break, which a UART reports as one zero byte; high is silence. */
  readonly stuck?: 'low' | 'high'
}

const burstBytesDefault = 16
const garbageBytesMax = 8

/** The damage of one direction of a line, with what it has to remember from byte to byte. */
export class LineDamage {
  /** Bytes that went in and did not come out as they were. */
  damagedByteCount = 0
  readonly #faults: LineFaults
  #burstBytesLeft = 0
  #isBreakTold = false

  constructor(faults: LineFaults) {
    this.#faults = faults
  }

  /** What arrives of `chunk`. */
  apply(chunk: Buffer): Buffer {
    const { stuck, baudRatio = 1 } = this.#faults
    if (stuck !== undefined) return this.#swallow(chunk, stuck)
    const received = baudRatio === 1 ? chunk : this.#resample(chunk, baudRatio)
    return this.#disturb(received)
  }

  #swallow(chunk: Buffer, level: 'low' | 'high'): Buffer {
    this.damagedByteCount += chunk.length
    const isNews = level === 'low' && !this.#isBreakTold
    this.#isBreakTold = true
    return Buffer.alloc(isNews ? 1 : 0)
  }

  #resample(chunk: Buffer, ratio: number): Buffer {
    const received = resampled(chunk, ratio)
    if (!received.equals(chunk)) this.damagedByteCount += chunk.length
    return received
  }

  #disturb(chunk: Buffer): Buffer {
    const { random, bitErrorRate = 0, dropRate = 0, duplicateRate = 0, garbageRate = 0, burstRate = 0 } = this.#faults
    const byteErrorRate = 1 - (1 - bitErrorRate) ** 8
    const received: number[] = []
    for (const sent of chunk) {
      const before = received.length
      if (random.next() < garbageRate) received.push(...random.bytes(1 + random.below(garbageBytesMax)))
      if (random.next() < dropRate) {
        this.damagedByteCount++
        continue
      }
      let byte = random.next() < byteErrorRate ? sent ^ (1 << random.below(8)) : sent
      if (this.#isInBurst(burstRate)) byte = random.below(256)
      received.push(byte)
      if (random.next() < duplicateRate) received.push(byte)
      if (byte !== sent || received.length !== before + 1) this.damagedByteCount++
    }
    return Buffer.from(received)
  }

  #isInBurst(burstRate: number): boolean {
    const { random, burstBytes = burstBytesDefault } = this.#faults
    if (this.#burstBytesLeft === 0 && burstRate > 0 && random.next() < burstRate) this.#burstBytesLeft = burstBytes
    if (this.#burstBytesLeft === 0) return false
    this.#burstBytesLeft--
    return true
  }
}
