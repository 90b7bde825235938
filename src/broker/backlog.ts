/**
 * How much the log may hold. Once a second it loses what nobody needs any more, then what is over the bounds of a
 * lane, oldest first, then what is over the bounds of all lanes together: bulk before telemetry before events. Control
 * has its bytes set aside, so that nothing else ever takes its room.
 *
 * A lane that drops its newest messages, or refuses them, is looked at with each append.
 */
import type { Clock } from '../ports/clock.ts'
import { Lane, laneNames, lanes } from '../ports/lane.ts'
import { logScope } from '../ports/ledger.ts'
import type { Log } from '../ports/log.ts'
import type { Excess, LaneExtent, MessageLog, Seq } from '../ports/store.ts'
import type { Counters } from './counters.ts'
import type { LaneLimits } from './lane-rules.ts'
import type { Ledger } from './ledger.ts'
import type { BrokerSettings } from './settings.ts'

/** Between two looks a lane may come so much closer to its bounds without being noticed. */
const nearlyFull = 0.9

export class Backlog {
  readonly #clock: Clock
  readonly #log: Log
  readonly #messages: MessageLog
  readonly #counters: Counters
  readonly #ledger: Ledger
  readonly #settings: BrokerSettings
  readonly #onDropped: () => void
  /** Lanes whose excess is being looked for. */
  readonly #searching = new Set<Lane>()
  /** Some lane that does not drop its oldest messages is full, or soon may be. */
  isNearlyFull = false

  constructor(parts: {
    clock: Clock
    log: Log
    messages: MessageLog
    counters: Counters
    ledger: Ledger
    settings: BrokerSettings
    onDropped: () => void
  }) {
    this.#clock = parts.clock
    this.#log = parts.log
    this.#messages = parts.messages
    this.#counters = parts.counters
    this.#ledger = parts.ledger
    this.#settings = parts.settings
    this.#onDropped = parts.onDropped
  }

  /** Whether `lane` does not take any more. */
  isFull(lane: Lane): boolean {
    return this.whenFull(lane) !== 'drop_oldest' && isBeyond(this.#extentOf(lane), this.#limitsOf(lane), 1)
  }

  whenFull(lane: Lane): LaneLimits['whenFull'] {
    return this.#limitsOf(lane).whenFull
  }

  /** @param unneeded by lane, the seq up to which nobody needs messages any more */
  trim(unneeded: readonly Seq[]): void {
    for (const lane of lanes) this.#messages.trim(unneeded[lane] as Seq, lane)
    for (const lane of [...lanes].reverse()) this.#dropExcess(lane)
    this.isNearlyFull = lanes.some(
      (lane) =>
        this.whenFull(lane) !== 'drop_oldest' && isBeyond(this.#extentOf(lane), this.#limitsOf(lane), nearlyFull),
    )
  }

  #dropExcess(lane: Lane): void {
    if (this.#searching.has(lane) || this.#extentOf(lane).messageCount === 0) return
    const { ageMsMax } = this.#limitsOf(lane)
    const notBeforeMs =
      ageMsMax === Number.POSITIVE_INFINITY ? Number.NEGATIVE_INFINITY : this.#clock.nowMs() - ageMsMax
    this.#searching.add(lane)
    this.#messages.findExcess(lane, { ...this.#roomOf(lane), notBeforeMs }, (excess, failure) => {
      this.#searching.delete(lane)
      if (failure !== undefined) this.#log.error({ err: failure, lane: laneNames[lane] }, 'log cannot be read')
      if (excess === undefined) return
      this.#drop(lane, excess)
      this.#dropExcess(lane)
    })
  }

  #drop(lane: Lane, { firstSeq, lastSeq, count }: Excess): void {
    this.#counters.dropped.backlogFull += count
    this.#ledger.droppedRange({ reason: 'backlog_full', scope: logScope, lane, firstSeq, lastSeq, count })
    this.#log.warn({ lane: laneNames[lane], count, seq: firstSeq }, 'backlog is full, oldest messages dropped')
    this.#messages.trim(lastSeq, lane)
    this.#onDropped()
  }

  /** What `lane` may hold of its own bounds and of those of all lanes together. */
  #roomOf(lane: Lane): { countMax: number; bytesMax: number } {
    const { backlogBytesMax, backlogCountMax } = this.#settings
    const limits = this.#limitsOf(lane)
    const isOldestDropped = limits.whenFull === 'drop_oldest'
    const countMax = isOldestDropped ? limits.countMax : Number.POSITIVE_INFINITY
    const bytesMax = isOldestDropped ? limits.bytesMax : Number.POSITIVE_INFINITY
    if (lane === Lane.control) return { countMax, bytesMax }
    // Less important lanes were looked at before, and gave what they had.
    const others = lanes
      .filter((other) => other !== lane && other !== Lane.control)
      .map((other) => this.#extentOf(other))
    const bytesLeft =
      backlogBytesMax - this.#limitsOf(Lane.control).bytesMax - sum(others.map((other) => other.byteCount))
    const countLeft = backlogCountMax - sum(others.map((other) => other.messageCount))
    return {
      countMax: Math.max(0, Math.min(countMax, countLeft)),
      bytesMax: Math.max(0, Math.min(bytesMax, bytesLeft)),
    }
  }

  #extentOf(lane: Lane): LaneExtent {
    return this.#messages.extents[lane] as LaneExtent
  }

  #limitsOf(lane: Lane): LaneLimits {
    return this.#settings.laneLimits[lane] as LaneLimits
  }
}

function isBeyond(extent: LaneExtent, { countMax, bytesMax }: LaneLimits, share: number): boolean {
  return extent.messageCount >= countMax * share || extent.byteCount >= bytesMax * share
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
