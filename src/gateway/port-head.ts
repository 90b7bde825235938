/**
 * What speaks one protocol on a serial port: the reliable link, raw MQTT, or an adapter for lines. The port
 * (serial-listener.ts) opens and watches the line; its head makes connections to the broker of what comes.
 */
import type { Failure } from '../lib/errors.ts'

/** `silent`: nobody who makes sense; `quarantined`: somebody whom the settings do not know. */
export type HeadState = 'silent' | 'up' | 'quarantined'

/** Numbers for metrics; they only rise. What a protocol does not have stays 0. */
export interface HeadCounters {
  /** Frames, packets or lines that made sense. */
  readonly unitCount: number
  /** Frames or lines with a wrong checksum, ones that are no frames or no text, and ones beyond any length. */
  readonly crcErrorCount: number
  readonly cobsErrorCount: number
  readonly oversizeCount: number
  /** Sent again, and waits for an acknowledgement that ended without one. */
  readonly retransmitCount: number
  readonly timeoutCount: number
  /** Conversations or connections begun. */
  readonly resetCount: number
  /** Messages that were not taken. */
  readonly droppedCount: number
}

export interface PortHead {
  readonly counters: HeadCounters
  /** For people, beside the counters. */
  readonly facts: Readonly<Record<string, string | number>>
  /** The line is open. */
  open(): void
  /** `chunk` is borrowed. */
  receive(chunk: Buffer): void
  /** The line is gone. */
  close(failure: Failure | undefined): void
  /** The gateway goes: says so, if the protocol can; `close` follows. */
  leave(): void
}

/** The port as its head sees it. */
export interface PortSide {
  /** Takes ownership of `bytes`. Ignored while the line is not open; what a stuck line does not take is lost. */
  write(bytes: Buffer): void
  readonly unwrittenByteCount: number
  changeRate(baudRate: number): void
  /** While paused the system keeps what comes, as far as it can. */
  pause(): void
  resume(): void
  onState(state: HeadState): void
  /** Text of the device for people. Borrowed. */
  onLog(text: Buffer): void
}
