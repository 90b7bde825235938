/**
 * The sending end of numbered messages (message-number.ts): one lane of one log towards one receiver. A message that
 * is sent again tells the same as before, as far as this run of the process knows.
 */
import { formatNumber, formatSkip, numberProperty, type Skip, skipProperty } from './message-number.ts'
import type { UserProperties } from './packet.ts'

/** Skips that wait for a message to tell them; beyond it neighbours are put together. */
const skipCountMax = 16

interface Told {
  readonly packetId: number
  readonly seq: number
  readonly previous: number
  readonly skips: Skip[]
  readonly properties: UserProperties
}

export class Numbering {
  readonly #epoch: string
  readonly #lane: number
  /** The last message that was sent, or dropped on purpose; 0 = not known. */
  #lastSeq: number
  /** What messages under way told, by the low bits of their packet id. */
  readonly #told: (Told | undefined)[]
  #skips: Skip[] = []

  /**
   * @param lastSeq a message that the receiver is known to have; 0 = none is
   * @param inflightMax messages under way whose numbers are remembered
   */
  constructor(epoch: string, lane: number, lastSeq: number, inflightMax: number) {
    this.#epoch = epoch
    this.#lane = lane
    this.#lastSeq = lastSeq
    this.#told = new Array(2 ** Math.ceil(Math.log2(inflightMax))).fill(undefined)
  }

  /** What to tell with the message `seq`, sent for the first time or again. */
  number(seq: number, packetId: number): UserProperties {
    const told = this.#told[this.#slotOf(packetId)]
    if (told?.seq === seq) return told.properties
    const isNext = seq > this.#lastSeq
    const previous = isNext ? this.#lastSeq : 0
    const skips = isNext ? this.#skips : []
    const number = formatNumber({ epoch: this.#epoch, lane: this.#lane, seq, previous })
    const properties: (readonly [string, string])[] = [[numberProperty, number]]
    for (const skip of skips) properties.push([skipProperty, formatSkip(skip)])
    if (isNext) {
      if (skips.length > 0) this.#skips = []
      this.#lastSeq = seq
    }
    this.#told[this.#slotOf(packetId)] = { packetId, seq, previous, skips, properties }
    return properties
  }

  /** The message that was numbered last under `packetId`; 0 when it is not known. */
  seqOf(packetId: number): number {
    const told = this.#told[this.#slotOf(packetId)]
    return told?.packetId === packetId ? told.seq : 0
  }

  /** The message `seq`, numbered last of all, was not sent after all and never will be. */
  retract(seq: number, packetId: number, reason: string): void {
    const slot = this.#slotOf(packetId)
    const told = this.#told[slot]
    if (told?.seq !== seq || this.#lastSeq !== seq) return
    this.#told[slot] = undefined
    this.#lastSeq = told.previous
    this.#skips = told.skips
    this.skip(seq, seq, 1, reason)
  }

  /**
   * The receiver will never get these; the next message tells it. What is told reaches back to the message before, so
   * that the receiver knows that nothing else was meant for it in between.
   */
  skip(firstSeq: number, lastSeq: number, count: number, reason: string): void {
    if (lastSeq <= this.#lastSeq) return
    const skip: Skip = { firstSeq: this.#lastSeq === 0 ? firstSeq : this.#lastSeq + 1, lastSeq, count, reason }
    const last = this.#skips.at(-1)
    if (last !== undefined && (last.reason === reason || this.#skips.length >= skipCountMax)) {
      this.#skips[this.#skips.length - 1] = {
        ...last,
        lastSeq,
        count: last.count + count,
        reason: last.reason === reason ? reason : 'several',
      }
    } else {
      this.#skips.push(skip)
    }
    this.#lastSeq = lastSeq
  }

  #slotOf(packetId: number): number {
    return packetId & (this.#told.length - 1)
  }
}
