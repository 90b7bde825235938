/** The part of the store that keeps messages which are due later. */
import type { Publish } from '../protocol/packets/publish.ts'

/** A message that is published at `dueAtMs`, or as soon after as the process is there. */
export interface DelayRecord {
  readonly id: number
  readonly dueAtMs: number
  readonly message: Publish
}

/**
 * Promises:
 * - a delay that was put and not removed loads.
 * - a removed delay does not load.
 * - the removal of a delay is durable in the same group commit as the message appended in the same turn.
 */
export interface DelayStore {
  /** Shares the message and makes it own its bytes. */
  put(record: DelayRecord): void
  remove(id: number): void
}

/** What people see of a delayed message. */
export interface DelayedEntry {
  readonly id: number
  readonly topic: string
  readonly qos: number
  readonly retain: boolean
  readonly clientId: string
  readonly payloadByteCount: number
  readonly remainingSeconds: number
}
