/**
 * What passes on a port, for somebody who watches a running gateway (`tidegate serial inspect NAME`): the sniffer's
 * lines of both directions, kept only while somebody asks, and never more than a screen or two of them.
 */
import type { Clock } from '../ports/clock.ts'
import { LineTrace, type TracedProtocol } from './line-trace.ts'

export interface TapLine {
  /** Wall clock, in ms since 1970. */
  readonly atMs: number
  readonly from: 'device' | 'gateway'
  readonly text: string
}

export interface TapView {
  readonly lines: readonly TapLine[]
  /** What to ask for next. */
  readonly next: number
  /** Lines that passed since the last question and were too many to keep. */
  readonly missedCount: number
}

/** Nobody asks any more. */
const idleMsMax = 5000
const linesMax = 2000

export class PortTap {
  readonly #protocol: TracedProtocol
  readonly #clock: Clock
  #watch: Watch | undefined

  constructor(protocol: TracedProtocol, clock: Clock) {
    this.#protocol = protocol
    this.#clock = clock
  }

  /** `chunk` is borrowed, here and below. */
  fromDevice(chunk: Buffer): void {
    if (this.#watch !== undefined) this.#live(this.#watch)?.device.push(chunk)
  }

  fromGateway(chunk: Buffer): void {
    if (this.#watch !== undefined) this.#live(this.#watch)?.gateway.push(chunk)
  }

  /**
   * What passed since the question that was answered with `next`. The first question, with 0, begins to watch; a watch
   * that nobody asks about for five seconds is over.
   */
  read(after: number): TapView {
    const nowMs = this.#clock.nowMs()
    const watch = this.#watch && this.#live(this.#watch)
    if (watch === undefined) {
      this.#watch = new Watch(this.#protocol, this.#clock, nowMs + idleMsMax)
      return { lines: [], next: 0, missedCount: 0 }
    }
    watch.untilMs = nowMs + idleMsMax
    const from = Math.min(Math.max(after, watch.firstNumber), watch.nextNumber)
    return {
      lines: watch.lines.slice(from - watch.firstNumber),
      next: watch.nextNumber,
      missedCount: Math.max(0, watch.firstNumber - after),
    }
  }

  #live(watch: Watch): Watch | undefined {
    if (this.#clock.nowMs() < watch.untilMs) return watch
    this.#watch = undefined
    return undefined
  }
}

class Watch {
  untilMs: number
  lines: TapLine[] = []
  /** Number of the first line that is kept. */
  firstNumber = 0
  readonly device: LineTrace
  readonly gateway: LineTrace

  constructor(protocol: TracedProtocol, clock: Clock, untilMs: number) {
    this.untilMs = untilMs
    const traceOf = (from: TapLine['from']) =>
      new LineTrace(protocol, (text) => this.#add({ atMs: clock.wallMs(), from, text }))
    this.device = traceOf('device')
    this.gateway = traceOf('gateway')
  }

  get nextNumber(): number {
    return this.firstNumber + this.lines.length
  }

  #add(line: TapLine): void {
    this.lines.push(line)
    if (this.lines.length <= linesMax) return
    // Half at once, so that a flood does not move the rest with each line.
    const dropped = linesMax / 2
    this.lines = this.lines.slice(dropped)
    this.firstNumber += dropped
  }
}
