/**
 * The bytes on their way to one peer within one turn of the event loop. Small packets are copied into a tail; a large
 * payload is referenced, so that the link can write it without a copy. Encoders make room for a whole packet with
 * `ensure` and write straight into `bytes` at `length`; nothing here allocates per packet.
 *
 * A turn begins with room for twice what the last one wrote: a busy peer never sees its tail grow, and a quiet one
 * costs a small piece of Node's buffer pool.
 */

import { assert } from '../lib/assert.ts'

/** Payloads from this size on are referenced, not copied. */
export const referenceBytesMin = 4096

/** What several peers get is referenced from this size on: more pieces in a write cost more than a short copy. */
const sharedBytesMin = 1024

const tailBytesMin = 256
const tailBytesMax = 65_536

/** A tail that holds so much and has no room left is not grown, which would copy it: another one begins. */
const closedBytesMin = 16_384

/** So much that leaves as it came is referenced where it may be. */
const passedBytesMin = 16_384

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
  #isLong = false
  readonly #isWhole: boolean

  /** @param isWhole all of it stays one piece, in which `length` is a place */
  constructor(isWhole = false) {
    this.#isWhole = isWhole
  }

  get byteCount(): number {
    return this.#segmentByteCount + this.length + (passage.to === this ? passage.byteCount : 0)
  }

  /** Makes room for `byteCount` more bytes in the tail: a whole packet. */
  ensure(byteCount: number): void {
    if (passage.to === this) passage.settle()
    if (this.length + byteCount > this.bytes.length) this.#makeRoom(byteCount)
  }

  #makeRoom(byteCount: number): void {
    if (!this.#isWhole && this.length >= closedBytesMin) {
      this.#closeTail()
      this.bytes = empty
      this.#isLong = true
      this.#tailBytes = tailBytesMax
    }
    const room = Buffer.allocUnsafe(Math.max(this.length + byteCount, this.bytes.length * 2, this.#tailBytes))
    this.bytes.copy(room, 0, 0, this.length)
    this.bytes = room
  }

  /** Takes the last `byteCount` bytes back, which are of one packet that was written to the tail. */
  takeBack(byteCount: number): void {
    this.length -= byteCount
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
    this.ensure(bytes.length)
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  /** Everything written so far, in order; the buffer is empty afterwards and the pieces belong to the caller. */
  take(): Buffer[] {
    if (passage.to === this) passage.settle()
    if (!this.#isLong) this.#tailBytes = Math.min(Math.max(this.length * 2, tailBytesMin), tailBytesMax)
    this.#isLong = false
    if (this.length > 0) this.#addSegment(this.bytes.subarray(0, this.length))
    this.bytes = empty
    this.length = 0
    const pieces = this.#segments
    this.#segments = none
    this.#segmentByteCount = 0
    return pieces
  }

  /** The same as one piece, of a buffer that was made whole and references nothing. */
  takeWhole(): Buffer {
    assert(this.#isWhole && this.#segments === none, 'one piece')
    return this.take()[0] ?? empty
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
 * at once when the run ends, a long run into memory of its own; or not at all where they are most of a chunk that stays.
 *
 * Only while somebody reads a chunk, who opens the passage and closes it before the chunk is given back.
 */
class Passage {
  isOpen = false
  to: OutputBuffer | undefined
  #chunkStays = false
  #from: Buffer = empty
  #start = 0
  #end = 0

  /** Of the run. */
  get byteCount(): number {
    return this.#end - this.#start
  }

  /** @param chunkStays its bytes are not written to when it is given back */
  open(chunkStays: boolean): void {
    this.isOpen = true
    this.#chunkStays = chunkStays
  }

  close(): void {
    this.isOpen = false
    this.settle()
  }

  /** Puts `from[start..end)` behind what is in `to`. The passage is open. */
  pass(to: OutputBuffer, from: Buffer, start: number, end: number): void {
    if (this.to !== to || this.#from !== from || this.#end !== start) {
      this.settle()
      this.to = to
      this.#from = from
      this.#start = start
    }
    this.#end = end
  }

  /** The run ends. */
  settle(): void {
    const { to } = this
    if (to === undefined) return
    const from = this.#from
    this.to = undefined
    this.#from = empty
    const { byteCount } = this
    const isLong = byteCount >= passedBytesMin
    // A view keeps all of its chunk from being freed.
    if (isLong && this.#chunkStays && 2 * byteCount >= from.buffer.byteLength) {
      to.reference(from.subarray(this.#start, this.#end))
    } else if (isLong) {
      const own = Buffer.allocUnsafeSlow(byteCount)
      from.copy(own, 0, this.#start, this.#end)
      to.reference(own)
    } else {
      to.ensure(byteCount)
      to.length += from.copy(to.bytes, to.length, this.#start, this.#end)
    }
  }
}

export const passage = new Passage()
