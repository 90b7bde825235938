/**
 * The bytes on their way to one peer within one turn of the event loop. Small packets are copied into one growing
 * tail; a large payload is referenced, so that the link can write it without a copy. Encoders write straight into
 * `bytes` at `length` after `ensure`; nothing here allocates per packet.
 *
 * A turn begins with room for twice what the last one wrote: a busy peer never sees its tail grow, and a quiet one
 * costs a small piece of Node's buffer pool.
 */

/** Payloads from this size on are referenced, not copied. */
export const referenceBytesMin = 4096

/** What several peers get is referenced from this size on: more pieces in a write cost more than a short copy. */
const sharedBytesMin = 1024

const tailBytesMin = 256
const tailBytesMax = 65_536

const empty = Buffer.alloc(0)
/** Never written to: a list begins with its first segment. */
const none: Buffer[] = []

export class OutputBuffer {
  /** The tail. Valid up to `length`; replaced by `ensure`, `reference` and `take`. */
  bytes: Buffer = empty
  length = 0
  #segments: Buffer[] = none
  #segmentByteCount = 0
  /** Room that a fresh tail has. */
  #tailBytes = tailBytesMin

  get byteCount(): number {
    return this.#segmentByteCount + this.length
  }

  /** Makes room for `byteCount` more bytes in the tail. */
  ensure(byteCount: number): void {
    const needed = this.length + byteCount
    if (needed <= this.bytes.length) return
    const grown = Buffer.allocUnsafe(Math.max(needed, this.bytes.length * 2, this.#tailBytes))
    this.bytes.copy(grown, 0, 0, this.length)
    this.bytes = grown
  }

  /** Puts `payload` behind what is there without copying it; the caller no longer changes its bytes. */
  reference(payload: Buffer): void {
    this.#closeTail()
    this.#addSegment(payload)
  }

  /** Puts bytes behind what is there that never change: several peers get them. */
  share(bytes: Buffer): void {
    if (bytes.length >= sharedBytesMin) {
      this.reference(bytes)
      return
    }
    if (passage.to === this) passage.settle()
    this.ensure(bytes.length)
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  /** Everything written so far, in order; the buffer is empty afterwards and the pieces belong to the caller. */
  take(): Buffer[] {
    this.#tailBytes = Math.min(Math.max(this.length * 2, tailBytesMin), tailBytesMax)
    this.#closeTail()
    this.bytes = empty
    const pieces = this.#segments
    this.#segments = none
    this.#segmentByteCount = 0
    return pieces
  }

  /** Makes the tail a segment; what is left of its room becomes the next tail. */
  #closeTail(): void {
    if (passage.to === this) passage.settle()
    if (this.length === 0) return
    this.#addSegment(this.bytes.subarray(0, this.length))
    this.bytes = this.bytes.subarray(this.length)
    this.length = 0
  }

  #addSegment(segment: Buffer): void {
    if (this.#segments === none) this.#segments = [segment]
    else this.#segments.push(segment)
    this.#segmentByteCount += segment.length
  }
}

/**
 * Packets that leave as they came. Those that stand side by side in what was received and go to the same peer are copied
 * in one piece: room for each is taken at once, the bytes follow when the run ends.
 *
 * Only while somebody reads a chunk, who opens the passage and closes it before the chunk is given back.
 */
class Passage {
  isOpen = false
  to: OutputBuffer | undefined
  #from: Buffer = empty
  #start = 0
  #end = 0
  /** Where the run begins in the tail of `to`, also when that grew meanwhile. */
  #at = 0

  open(): void {
    this.isOpen = true
  }

  close(): void {
    this.isOpen = false
    this.settle()
  }

  /** Puts `from[start..end)` behind what is in `to`. The passage is open. */
  pass(to: OutputBuffer, from: Buffer, start: number, end: number): void {
    to.ensure(end - start)
    const goesOn = this.to === to && this.#from === from && this.#end === start
    if (!goesOn || to.length !== this.#at + start - this.#start) {
      this.settle()
      this.to = to
      this.#from = from
      this.#start = start
      this.#at = to.length
    }
    this.#end = end
    to.length += end - start
  }

  settle(): void {
    if (this.to === undefined) return
    this.#from.copy(this.to.bytes, this.#at, this.#start, this.#end)
    this.to = undefined
    this.#from = empty
  }
}

export const passage = new Passage()
