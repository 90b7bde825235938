/** A serial line as bytes. What the bytes mean is the gateway's affair (src/gateway). */
import type { Failure } from '../lib/errors.ts'

export interface SerialSettings {
  readonly path: string
  readonly baudRate: number
  /** false: the port is opened without dropping DTR, so that an Arduino keeps running. */
  readonly resetOnOpen: boolean
}

/**
 * Promises:
 * - exactly one of `onOpen` and `onClosed` comes first; after `onClosed` nothing else comes.
 * - an absent or unplugged device is `onClosed` with a Failure, never an exception.
 * - `close` frees the descriptor and the lock before `onClosed` comes.
 */
export interface SerialDriver {
  open(settings: SerialSettings, owner: SerialOwner): SerialLine
}

export interface SerialLine {
  /** Takes ownership of `bytes`. Ignored after the line closed. */
  write(bytes: Buffer): void
  /** What is written from now on goes out at this rate, once everything written before has left. */
  changeRate(baudRate: number): void
  /** No `receive` until `resume`, but for what was already read: the system keeps what comes, as far as it can. */
  pause(): void
  resume(): void
  readonly bufferedByteCount: number
  close(): void
}

export interface SerialOwner {
  onOpen(): void
  /** `chunk` is borrowed: valid until the call returns. */
  receive(chunk: Buffer): void
  onClosed(failure: Failure | undefined): void
}
