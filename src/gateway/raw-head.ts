/**
 * MQTT as it is, for lines that lose nothing by themselves: USB, or TCP. A connection begins with a CONNECT, wherever
 * in the bytes that stands, and ends with the broker's wish, the line, or silence; what comes after its end is dropped
 * up to the next CONNECT. A raw line has no way to tell the device that a connection is over but not to answer.
 */
import { Failure } from '../lib/errors.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Link, LinkOwner } from '../ports/transport.ts'
import { ConnectFinder } from './connect-finder.ts'
import type { HeadCounters, PortHead, PortSide } from './port-head.ts'
import type { PortReport } from './port-report.ts'
import { SilenceWatch } from './silence-watch.ts'

export interface RawHeadParts {
  readonly port: PortSide
  accept(link: Link): LinkOwner
  readonly clock: Clock
  readonly report: PortReport
}

export class RawHead implements PortHead {
  readonly facts = {}
  readonly #path: string
  readonly #parts: RawHeadParts
  readonly #finder = new ConnectFinder()
  readonly #silence: SilenceWatch
  #connection: RawConnection | undefined
  #unitCount = 0
  #resetCount = 0

  constructor(path: string, parts: RawHeadParts) {
    this.#path = path
    this.#parts = parts
    this.#silence = new SilenceWatch(parts.clock, () => this.#onSilent())
  }

  get counters(): HeadCounters {
    return {
      unitCount: this.#unitCount,
      crcErrorCount: 0,
      cobsErrorCount: this.#finder.skippedStretchCount,
      oversizeCount: 0,
      retransmitCount: 0,
      timeoutCount: 0,
      resetCount: this.#resetCount,
      droppedCount: 0,
    }
  }

  open(): void {
    this.#finder.clear()
  }

  receive(chunk: Buffer): void {
    if (this.#connection !== undefined) {
      this.#unitCount++
      this.#silence.heard()
      this.#connection.receive(chunk)
      // A device that restarted says CONNECT in the middle: the broker ends the old connection, and this begins a new one.
      if (this.#connection !== undefined && !this.#connection.isOver) return
      this.#connection = undefined
      this.#finder.clear()
    }
    const found = this.#finder.find(chunk)
    if (found === undefined) this.#parts.port.onState('silent')
    else this.#begin().receive(found)
  }

  close(failure: Failure | undefined): void {
    this.#silence.stop()
    const connection = this.#connection
    this.#connection = undefined
    connection?.lose(failure)
  }

  leave(): void {
    // A DISCONNECT of the broker is all that the device can be told, and that was sent.
  }

  #begin(): RawConnection {
    const { accept, clock, port, report } = this.#parts
    const connection = new RawConnection(this.#path, port, clock)
    this.#connection = connection
    this.#resetCount++
    this.#unitCount++
    this.#silence.heard()
    connection.bind(accept(connection))
    report.line('info', {}, 'serial device connects')
    port.onState('up')
    return connection
  }

  #onSilent(): void {
    const connection = this.#connection
    this.#connection = undefined
    this.#parts.report.line('info', {}, 'serial device fell silent')
    connection?.lose(new Failure('ERR_LINK_CLOSED', `${this.#path}: silence`))
    this.#parts.port.onState('silent')
  }
}

/** How often an owner that waits for room is told when there is some. */
const drainEveryMs = 10

class RawConnection implements Link {
  readonly remote: string
  readonly identity = undefined
  isOver = false
  readonly #port: PortSide
  readonly #clock: Clock
  #owner: LinkOwner | undefined
  #drain: Timer | undefined
  #isClosedTold = false

  constructor(remote: string, port: PortSide, clock: Clock) {
    this.remote = remote
    this.#port = port
    this.#clock = clock
  }

  bind(owner: LinkOwner): void {
    this.#owner = owner
  }

  get bufferedByteCount(): number {
    return this.isOver ? 0 : this.#port.unwrittenByteCount
  }

  send(pieces: readonly Buffer[]): void {
    if (this.isOver) return
    for (const piece of pieces) this.#port.write(piece)
    if (this.bufferedByteCount > 0) this.#drain ??= this.#clock.after(drainEveryMs, () => this.#lookForRoom())
  }

  pause(): void {
    if (!this.isOver) this.#port.pause()
  }

  resume(): void {
    if (!this.isOver) this.#port.resume()
  }

  end(): void {
    this.destroy()
  }

  destroy(): void {
    if (this.isOver) return
    this.#finish()
    this.#clock.afterTurn(() => this.#tellClosed(undefined))
  }

  receive(chunk: Buffer): void {
    if (!this.isOver) this.#owner?.receive(chunk)
  }

  /** The line is gone, or the device. */
  lose(failure: Failure | undefined): void {
    if (this.isOver) return
    this.#finish()
    this.#tellClosed(failure)
  }

  #finish(): void {
    this.isOver = true
    this.#drain?.cancel()
    this.#port.resume()
  }

  #tellClosed(failure: Failure | undefined): void {
    if (this.#isClosedTold) return
    this.#isClosedTold = true
    this.#owner?.onClosed(failure)
  }

  #lookForRoom(): void {
    this.#drain = undefined
    if (this.isOver) return
    if (this.bufferedByteCount > 0) this.#drain = this.#clock.after(drainEveryMs, () => this.#lookForRoom())
    else this.#owner?.onDrain()
  }
}
