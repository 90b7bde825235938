/**
 * Where one lane of the log begins and ends. Messages of a lane are numbered without gaps, and the bytes of all that
 * were ever appended to it stand in a row; so counts and sizes are differences and nothing is ever scanned.
 */
import type { LaneExtent, Seq } from '../../ports/store.ts'

/** One group commit trims no more than this, so that it stays short. */
const trimCountMax = 1024
const trimBytesMax = 16 * 1024 * 1024

/** Where the messages of a lane that are kept begin. */
export interface LaneStart {
  readonly seq: Seq
  readonly number: number
  /** Bytes of the lane before. */
  readonly startByte: number
}

/** What the file holds of a lane when it is opened. `first` is undefined when there is nothing. */
export interface LaneInFile {
  readonly first: LaneStart | undefined
  readonly lastSeq: Seq
  readonly lastNumber: number
  readonly endByte: number
}

export class LaneState implements LaneExtent {
  /** Of the last message appended. */
  lastSeq: Seq
  lastNumber: number
  endByte: number
  /** Messages up to here are not kept. */
  trimSeq: Seq
  #firstNumber: number
  #startByte: number
  /** Of the first message that is kept, or a seq before it. */
  #firstSeq: Seq
  /** The file holds nothing up to here. */
  #trimmedSeq: Seq
  /** Messages that the file no longer holds, as far as that can be told between two known places. */
  #trimmedNumber: number

  constructor({ first, lastSeq, lastNumber, endByte }: LaneInFile) {
    this.lastSeq = lastSeq
    this.lastNumber = lastNumber
    this.endByte = endByte
    this.#firstSeq = first?.seq ?? lastSeq + 1
    this.#firstNumber = first?.number ?? lastNumber + 1
    this.#startByte = first?.startByte ?? endByte
    this.trimSeq = this.#firstSeq - 1
    this.#trimmedSeq = this.trimSeq
    this.#trimmedNumber = this.#firstNumber - 1
  }

  get messageCount(): number {
    return this.lastNumber - this.#firstNumber + 1
  }

  get byteCount(): number {
    return this.endByte - this.#startByte
  }

  /** A seq at or before the first message that is kept; `Infinity` when there is none. */
  get firstSeq(): Seq {
    return this.messageCount === 0 ? Number.POSITIVE_INFINITY : this.#firstSeq
  }

  /** A message of `byteCount` bytes was appended. */
  add(seq: Seq, byteCount: number): void {
    if (this.messageCount === 0) this.#firstSeq = seq
    this.lastSeq = seq
    this.lastNumber++
    this.endByte += byteCount
  }

  /** @returns false when there is nothing up to `seq` */
  trim(seq: Seq): boolean {
    if (seq <= this.trimSeq || this.messageCount === 0 || seq < this.#firstSeq) return false
    this.trimSeq = seq
    this.#firstSeq = seq + 1
    return true
  }

  /** What is kept begins here; undefined = nothing is kept. */
  startsAt(start: LaneStart | undefined): void {
    this.#firstSeq = start?.seq ?? this.lastSeq + 1
    this.#firstNumber = start?.number ?? this.lastNumber + 1
    this.#startByte = start?.startByte ?? this.endByte
  }

  /** The seq up to which the next group commit trims; undefined when there is nothing to trim. */
  nextTrimSeq(durableSeq: Seq): Seq | undefined {
    const wanted = this.#wantedSeq(durableSeq)
    const range = wanted - this.#trimmedSeq
    if (range <= 0) return undefined
    const count = this.#firstNumber - 1 - this.#trimmedNumber
    return count <= this.#trimStep
      ? wanted
      : this.#trimmedSeq + Math.max(1, Math.floor((range * this.#trimStep) / count))
  }

  /** More is to be trimmed than one group commit does. */
  get isTrimBehind(): boolean {
    return this.#firstNumber - 1 - this.#trimmedNumber > this.#trimStep
  }

  onTrimmed(seq: Seq, durableSeq: Seq): void {
    const range = this.#wantedSeq(durableSeq) - this.#trimmedSeq
    const count = this.#firstNumber - 1 - this.#trimmedNumber
    this.#trimmedNumber += range <= 0 ? 0 : Math.floor((count * (seq - this.#trimmedSeq)) / range)
    this.#trimmedSeq = seq
  }

  #wantedSeq(durableSeq: Seq): Seq {
    return Math.min(this.trimSeq, durableSeq, this.lastSeq)
  }

  /** Messages per step; fewer when they are large, for the pages of each one are visited. */
  get #trimStep(): number {
    const averageBytes = this.messageCount === 0 ? 1 : this.byteCount / this.messageCount
    return Math.max(1, Math.min(trimCountMax, Math.floor(trimBytesMax / Math.max(1, averageBytes))))
  }
}
