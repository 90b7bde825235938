/**
 * How much of what sockets bring is taken in one turn of the event loop. The system hands over all that is there, so
 * fifty busy clients would be read in one turn, and timers, commits and everybody else would wait for that long. What
 * is over stays with its socket, which is not read on, and is taken in the next turns: first come, first served.
 */
import { RingQueue } from '../../lib/ring-queue.ts'

/** For so long sockets are read before it is somebody else's turn. */
const turnMs = 2

/** What is taken without looking at the time: what lately took as long as that, within bounds. */
const pieceMs = 0.5
const pieceBytesMin = 16_384
const pieceBytesMax = 65_536

export interface Reader {
  /** Whether the bytes of a chunk stay as they were when it was read. */
  readonly chunksStay: boolean
  /** What was read of it and not taken yet: nothing more is read meanwhile. */
  unread: Buffer | undefined
  deliver(chunk: Buffer): void
  hold(): void
  release(): void
}

class ReadTurns {
  readonly #waiting = new RingQueue<Reader>(Number.POSITIVE_INFINITY)
  /** Taken since the time was last looked at. */
  #byteCount = 0
  /** While somebody is read. */
  #lookedAtMs = 0
  #pieceBytes = pieceBytesMin
  /** 0 = so little came lately that it need not be known when a turn ends. */
  #endsAtMs = 0

  /** Comes from a socket. */
  take(reader: Reader, chunk: Buffer): void {
    const rest = this.#waiting.length > 0 ? chunk : this.#deliver(reader, chunk)
    if (rest === undefined) return
    reader.unread = reader.chunksStay ? rest : Buffer.from(rest)
    reader.hold()
    this.#waiting.push(reader)
  }

  /** @returns what is left when the time is over */
  #deliver(reader: Reader, chunk: Buffer): Buffer | undefined {
    for (let start = 0; ; ) {
      if (this.#byteCount >= this.#pieceBytes && this.#isOver()) return start === 0 ? chunk : chunk.subarray(start)
      const end = start + this.#pieceBytes
      const piece = start === 0 && end >= chunk.length ? chunk : chunk.subarray(start, end)
      this.#byteCount += piece.length
      reader.deliver(piece)
      if (end >= chunk.length) return undefined
      start = end
    }
  }

  #isOver(): boolean {
    const nowMs = performance.now()
    if (this.#endsAtMs === 0) {
      this.#endsAtMs = nowMs + turnMs
      setImmediate(this.#nextTurn)
    } else {
      const byteCount = (this.#byteCount * pieceMs) / (nowMs - this.#lookedAtMs)
      this.#pieceBytes = Math.floor(Math.min(Math.max(byteCount, pieceBytesMin), pieceBytesMax))
    }
    this.#lookedAtMs = nowMs
    this.#byteCount = 0
    return nowMs >= this.#endsAtMs
  }

  readonly #nextTurn = (): void => {
    this.#lookedAtMs = performance.now()
    this.#byteCount = 0
    this.#endsAtMs = this.#lookedAtMs + turnMs
    for (let count = this.#waiting.length; count > 0 && performance.now() < this.#endsAtMs; count--) {
      const reader = this.#waiting.shift() as Reader
      const { unread } = reader
      // Taken already when the socket closed.
      if (unread === undefined) continue
      reader.unread = this.#deliver(reader, unread)
      if (reader.unread === undefined) reader.release()
      else this.#waiting.push(reader)
    }
    this.#byteCount = 0
    if (this.#waiting.length > 0) setImmediate(this.#nextTurn)
    else this.#endsAtMs = 0
  }
}

/** Of the process: there is one event loop. */
export const readTurns = new ReadTurns()
