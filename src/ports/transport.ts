/**
 * Byte links, whatever carries them: TCP, TLS, a serial line, an in-memory pipe in tests.
 * The adapter owns the socket; the owner (a broker connection, or the bridge) decides what is sent and when to stop.
 */
import type { Failure } from '../lib/errors.ts'

/**
 * One open byte link.
 *
 * Promises:
 * - bytes leave in the order they were sent.
 * - nothing is delivered to the owner inside a call of `send`, `end` or `destroy`.
 * - `onClosed` comes exactly once, whoever closed; after it nothing else comes.
 * - while paused no bytes are delivered, but for what was already read.
 */
export interface Link {
  /** Peer address for logs, `192.0.2.1:49152` or `/dev/ttyUSB0`. */
  readonly remote: string
  /** Common name of the verified client certificate, or what else the link itself proves about its peer. */
  readonly identity: string | undefined
  /** Whether the bytes of a chunk stay as they were delivered, also when it was given back; undefined = no. */
  readonly chunksStay?: boolean
  /** The buffers are not written to any more, by nobody; one call is one write to the system where it can be. */
  send(pieces: readonly Buffer[]): void
  /** Bytes taken by `send` that the system has not accepted yet. */
  readonly bufferedByteCount: number
  pause(): void
  resume(): void
  /** Closes after everything sent has left. */
  end(): void
  /** Closes at once; what was not written is lost. */
  destroy(): void
}

export interface LinkOwner {
  /** `chunk` is borrowed: valid until the call returns, and longer only where the chunks of the link stay. */
  receive(chunk: Buffer): void
  /** `bufferedByteCount` fell back to zero after it was above it. */
  onDrain(): void
  onClosed(failure: Failure | undefined): void
}

/** How fast each client of a listener may send; whoever is faster is read more slowly. undefined = no limit */
export interface ClientRates {
  readonly messagesPerSecondMax: number | undefined
  readonly bytesPerSecondMax: number | undefined
}

/** Which topics the peers of a listener may touch: filters over whole topics, the mountpoint included. */
export interface TopicAccess {
  /** undefined = all */
  readonly publish: readonly string[] | undefined
  readonly subscribe: readonly string[] | undefined
}

/** What a listener fixes for all of its links. */
export interface ListenerTraits {
  /** For logs and metrics: `tcp 127.0.0.1:1883`. */
  readonly name: string
  /** Put before every topic of the peer and taken off again towards it. `undefined` = none. */
  readonly mountpoint: string | undefined
  /** The certificate's common name becomes the username, and only peers that proved one get in. */
  readonly requireIdentity: boolean
  readonly allowAnonymous: boolean
  /** Peers are gateways whose numbered messages are recognised when they come again (bridge/receiver.ts). */
  readonly acceptsGateways: boolean
  readonly rates?: ClientRates | undefined
  /** undefined = all topics */
  readonly access?: TopicAccess | undefined
}

export interface Acceptor {
  accept(link: Link, traits: ListenerTraits): LinkOwner
  /** A peer was refused before it became a link. */
  onRefused?(traits: ListenerTraits): void
}

/** An attempt to reach a remote broker. Exactly one of `onConnected` and `onFailed` comes, unless aborted. */
export interface Dialer {
  /** `tls://cloud.example:8883`, for logs. */
  readonly address: string
  dial(outcome: DialOutcome): Dial
}

export interface Dial {
  /** After this nothing comes any more; a link that opens meanwhile is destroyed. */
  abort(): void
}

export interface DialOutcome {
  /** Returns the owner of the new link. */
  onConnected(link: Link): LinkOwner
  onFailed(failure: Failure): void
}
