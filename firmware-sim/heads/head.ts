/**
 * The protocol head of a device: how its readings get into bytes and its commands out of them. The device owns the
 * queue and the power; a head owns what it knows of the conversation, and forgets it with the power.
 */
import type { Reading } from '../board/flash.ts'
import type { ResetReason } from '../device-hello.ts'

export interface Head {
  /** Somebody at the other end takes readings. */
  readonly isReady: boolean
  /** Readings are acknowledged; otherwise done means that they have left. */
  readonly isAcknowledged: boolean
  powerOn(reason: ResetReason): void
  powerOff(): void
  /** The power goes, and takes what the UART still holds: says which readings that were. */
  cut(): void
  /** Bytes from the UART. */
  receive(bytes: Buffer): void
  /** Sends of the queue what can be sent now. */
  flush(): void
  /** A message outside of the queue: it leaves at once, or never. */
  say(topic: string, payload: string): void
  /** A line for people, where the protocol has room for it. */
  log(text: string): void
}

export interface HeadOwner {
  /** Readings that wait, oldest first. The head sends from its start; the device takes out what is done. */
  readonly queue: readonly Reading[]
  readonly topic: string
  /** Where commands come from; undefined = the device takes none. */
  readonly commandTopic: string | undefined
  onReady(): void
  onRefused(): void
  onResent(reading: Reading): void
  /** The reading at `index` of the queue is done: take it out. */
  onDone(index: number): void
  /** Reading `n` was done, but the power took it out of the UART. */
  onCut(n: number): void
  onCommand(topic: string, payload: Buffer): void
  /** Something came: perhaps there is room for more. */
  onProgress(): void
}

/** An ordered, lossless byte stream to a broker, as MQTT wants it; it is sought again whenever it ends. */
export interface Stream {
  powerOn(reason: ResetReason): void
  powerOff(): void
  /** Bytes from the UART; a stream without a UART gets none. */
  receive(bytes: Buffer): void
  /** Ignored while the stream is not up. */
  send(bytes: Buffer): void
  /** Gives up what there is and begins anew. */
  reset(): void
  log(text: string): void
}

export interface StreamOwner {
  onUp(): void
  onBytes(bytes: Buffer): void
  onDown(): void
}
