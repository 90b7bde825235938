/**
 * Chunks in, whole frames out. A frame that lies within one chunk is read where it lies; one that spans chunks is
 * gathered in a buffer of its own, which grows with the bytes that came, not with the length that was claimed. The
 * size limit is enforced from the fixed header alone, before any body byte is kept (MQTT 5.0 §3.2.2.3.6). Nothing is
 * decoded here.
 *
 *   push(chunk) -> while (next()) read header, bytes[start..end)
 */
import { malformed, PacketFault } from './fault.ts'
import { ReasonCode } from './reason.ts'

const none = Buffer.alloc(0)

/** A fixed header is at most a type byte and four length bytes. */
const headerBytesMax = 5

export class FrameDecoder {
  /** First byte of the current frame: packet type in the high half, flags in the low half. */
  header = 0
  /** Body of the current frame is `bytes[start..end)`, borrowed until the next call of `next` or `push`. */
  bytes: Buffer = none
  start = 0
  end = 0

  #frameBytesMax: number
  #chunk: Buffer = none
  #position = 0
  /** The unfinished frame: its first `#partialByteCount` bytes. Grows by doubling, never beyond the frame. */
  #partial: Buffer = none
  #partialByteCount = 0
  /** Bytes the unfinished frame must have before it is worth looking again. */
  #needBytes = 0

  /** @param frameBytesMax largest whole packet that is accepted, fixed header included */
  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax
  }

  /** Bytes held for an unfinished frame. */
  get pendingByteCount(): number {
    return this.#partialByteCount
  }

  /** `chunk` is borrowed until `next` has answered false; what must outlive that is copied. */
  push(chunk: Buffer): void {
    const unread = this.#chunk.length - this.#position
    this.#chunk = unread === 0 ? chunk : Buffer.concat([this.#chunk.subarray(this.#position), chunk])
    this.#position = 0
  }

  /** For a reader that must wait in the middle of a chunk: copies the unread part, so that `next` can go on later. */
  keepUnread(): void {
    this.#chunk = Buffer.from(this.#chunk.subarray(this.#position))
    this.#position = 0
  }

  /**
   * Moves to the next whole frame, if there is one.
   * @throws PacketFault packetTooLarge over the limit; malformedPacket for a length of more than four bytes or an
   * overlong one. The decoder is of no use afterwards.
   */
  next(): boolean {
    if (this.#partialByteCount > 0) return this.#completePartial()
    const needBytes = this.#locate(this.#chunk, this.#position, this.#chunk.length)
    if (needBytes === 0) {
      this.#position = this.end
      return true
    }
    if (this.#position < this.#chunk.length) {
      this.#needBytes = needBytes
      this.#keep(this.#chunk.length - this.#position)
    }
    this.#letGo()
    return false
  }

  /** Moves bytes from the chunk to the unfinished frame until that is whole; false when the chunk ends first. */
  #completePartial(): boolean {
    for (;;) {
      this.#keep(Math.min(this.#needBytes - this.#partialByteCount, this.#chunk.length - this.#position))
      if (this.#partialByteCount < this.#needBytes) {
        this.#letGo()
        return false
      }
      // A cut header hides the length of the frame, so the need may rise once it is whole.
      this.#needBytes = this.#locate(this.#partial, 0, this.#partialByteCount)
      if (this.#needBytes === 0) {
        this.#partial = none
        this.#partialByteCount = 0
        return true
      }
    }
  }

  #keep(byteCount: number): void {
    const needed = this.#partialByteCount + byteCount
    if (needed > this.#partial.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, Math.min(this.#needBytes, this.#partial.length * 2)))
      this.#partial.copy(grown, 0, 0, this.#partialByteCount)
      this.#partial = grown
    }
    this.#chunk.copy(this.#partial, this.#partialByteCount, this.#position, this.#position + byteCount)
    this.#partialByteCount = needed
    this.#position += byteCount
  }

  /** A silent connection must not keep the last chunk or frame from being freed. */
  #letGo(): void {
    this.#chunk = none
    this.#position = 0
    this.bytes = none
    this.start = 0
    this.end = 0
  }

  /**
   * Reads the fixed header at `from`. Answers 0 and sets the frame when the whole frame lies before `available`,
   * otherwise the byte count, counted from `from`, that is needed before looking again.
   */
  #locate(bytes: Buffer, from: number, available: number): number {
    const count = available - from
    if (count < 2) return 2
    let bodyBytes = bytes[from + 1] as number
    let at = from + 2
    if (bodyBytes >= 0x80) {
      bodyBytes &= 0x7f
      let multiplier = 0x80
      for (;;) {
        if (at - from === headerBytesMax) throw malformed('', 'remaining length of more than four bytes')
        if (at >= available) return at - from + 1
        const byte = bytes[at++] as number
        bodyBytes += (byte & 0x7f) * multiplier
        if (byte < 0x80) {
          if (byte === 0) throw malformed('MQTT-1.5.5-1', 'overlong remaining length')
          break
        }
        multiplier *= 0x80
      }
    }
    const frameBytes = at - from + bodyBytes
    if (frameBytes > this.#frameBytesMax) {
      const detail = `packet of ${frameBytes} bytes`
      throw new PacketFault(ReasonCode.packetTooLarge, 'MQTT-3.2.2-15', detail) // [MQTT-3.2.2-15]
    }
    if (count < frameBytes) return frameBytes
    this.header = bytes[from] as number
    this.bytes = bytes
    this.start = at
    this.end = from + frameBytes
    return 0
  }
}
