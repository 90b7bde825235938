/**
 * Time, as the core sees it. One timeline in milliseconds that never goes back, not even across restarts and
 * whatever the wall clock does: the adapter joins CLOCK_MONOTONIC to the point where the previous run ended.
 *
 * Promises:
 * - `nowMs` never decreases, also from one run to the next.
 * - tasks never run inside the call that registered them.
 * - a cancelled timer never fires.
 */
export interface Clock {
  nowMs(): number
  /** Wall clock, for people only: milliseconds since 1970. Nothing may be decided by it. */
  wallMs(): number
  /** Runs `task` once this turn of the event loop has done its reads: the place for one write per connection. */
  afterTurn(task: () => void): void
  /** Runs `task` once after at least `delayMs`. For a few long-lived owners; per-connection time is a timer wheel. */
  after(delayMs: number, task: () => void): Timer
}

/**
 * What the wall clock is worth. `unset`: nobody knows the time; `kept`: taken up where the last run ended, so it may be
 * behind; `rtc`: from a chip with a battery; `network`: synchronised over the network; `gps`.
 */
export type ClockQuality = 'unset' | 'kept' | 'rtc' | 'network' | 'gps'

export interface Timer {
  cancel(): void
}

/** Where a timeline stands, so that the next run can take it up. */
export interface Timeline {
  /** Names the run of the machine, from power-up to power-off, that `offsetMs` belongs to. */
  readonly bootId: string
  /** `nowMs` minus the machine's monotonic clock in that run. */
  readonly offsetMs: number
  /** `nowMs` never was beyond this. */
  readonly lastMs: number
}

/** The clock of a process whose store keeps the timeline. */
export interface SystemClock extends Clock {
  timeline(): Timeline
}
