/**
 * How long to wait for an acknowledgement before sending again: four times what acknowledgements took lately, doubled
 * with every timeout, within bounds. Only frames that were sent once may be measured (Karn): the acknowledgement of a
 * repeated frame does not tell which copy it is for.
 */
import { RoundTrips } from './round-trips.ts'

const initialMs = 800
const shortestMs = 100
const longestMs = 2400

/** A piggybacked acknowledgement can stand behind this many frames of the peer. */
const framesAhead = 4
const turnaroundMs = 20

export class AckTimeout {
  /** Of frames that were sent once. */
  readonly roundTrips = new RoundTrips()
  #ms = initialMs

  /** The wait for frames of which the longest takes `frameMs` on the line. */
  currentMs(frameMs: number): number {
    const lowest = Math.max(shortestMs, framesAhead * frameMs + turnaroundMs)
    return Math.max(lowest, Math.min(longestMs, this.#ms))
  }

  /** A frame that was sent once was acknowledged `waitMs` after it had left the line. */
  onAcknowledged(waitMs: number): void {
    // Settles at four times a steady wait: x = 7/8 x + wait / 2.
    this.#ms = (this.#ms * 7) / 8 + waitMs / 2
    this.roundTrips.add(waitMs)
  }

  onTimeout(frameMs: number): void {
    this.#ms = 2 * this.currentMs(frameMs)
  }
}
