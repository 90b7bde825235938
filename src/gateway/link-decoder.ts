/**
 * Bytes of a line -> frames. Believes nothing but 0x00: what lies between two of them is a frame if it decodes and its
 * checksum fits, and is counted and forgotten otherwise, so that one clean frame after any garbage is understood.
 * Linear in its input; holds at most `2 * mtuBytes` bytes of an unfinished frame, and always a whole RST.
 */
import { cobsDecode } from './cobs.ts'
import { decodeFrame, type LinkFrame } from './link-frame.ts'
import { helloFrameBytesMax } from './link-hello.ts'

export interface LinkDecoderOwner {
  /** The payload is borrowed: valid until the call returns. */
  onFrame(frame: LinkFrame): void
  /** Something came that is no frame. `bytes` is what was kept of it, borrowed like the payload. */
  onGarbage(fault: LinkFault, bytes: Buffer): void
}

export type LinkFault = 'checksum' | 'cobs' | 'oversize'

export class LinkDecoder {
  frameCount = 0
  /** Frames whose checksum or length was wrong. */
  crcErrorCount = 0
  /** Frames that are not COBS. */
  cobsErrorCount = 0
  /** Stretches without 0x00 that are longer than any frame. */
  oversizeCount = 0
  readonly #owner: LinkDecoderOwner
  /** The unfinished frame, encoded. */
  readonly #partial: Buffer
  readonly #plain: Buffer
  #partialByteCount = 0
  #isOversize = false

  constructor(mtuBytes: number, owner: LinkDecoderOwner) {
    this.#owner = owner
    const keptBytesMax = 2 * Math.max(mtuBytes, helloFrameBytesMax)
    this.#partial = Buffer.allocUnsafeSlow(keptBytesMax)
    this.#plain = Buffer.allocUnsafeSlow(keptBytesMax)
  }

  push(chunk: Buffer): void {
    let from = 0
    for (;;) {
      const delimiter = chunk.indexOf(0, from)
      if (delimiter < 0) break
      this.#keep(chunk, from, delimiter)
      this.#finish()
      from = delimiter + 1
    }
    this.#keep(chunk, from, chunk.length)
  }

  /** Forgets the unfinished frame: the line was opened anew. */
  clear(): void {
    this.#partialByteCount = 0
    this.#isOversize = false
  }

  #keep(chunk: Buffer, from: number, to: number): void {
    if (this.#isOversize) return
    this.#isOversize = this.#partialByteCount + to - from > this.#partial.length
    this.#partialByteCount += chunk.copy(this.#partial, this.#partialByteCount, from, to)
  }

  #finish(): void {
    const byteCount = this.#partialByteCount
    const isOversize = this.#isOversize
    this.clear()
    if (isOversize) {
      this.oversizeCount++
      this.#owner.onGarbage('oversize', this.#partial.subarray(0, byteCount))
      return
    }
    if (byteCount === 0) return // Two delimiters in a row: nothing between two frames.
    const plainByteCount = cobsDecode(this.#partial, 0, byteCount, this.#plain)
    if (plainByteCount < 0) {
      this.cobsErrorCount++
      this.#owner.onGarbage('cobs', this.#partial.subarray(0, byteCount))
      return
    }
    const frame = decodeFrame(this.#plain, plainByteCount)
    if (frame === undefined) {
      this.crcErrorCount++
      this.#owner.onGarbage('checksum', this.#partial.subarray(0, byteCount))
      return
    }
    this.frameCount++
    this.#owner.onFrame(frame)
  }
}
