/**
 * What a port tells the world: retained topics below `$edge/serial/{name}`, and lines in the log, of which a port that
 * flaps writes no more than a few a minute.
 *
 *   availability   online, offline (no port), silent, quarantined or parked        retained
 *   status         the same with counters and what the device says of itself, JSON  retained, each minute
 *   log            what the device prints for people
 */
import type { Clock } from '../ports/clock.ts'
import type { HouseVoice } from '../ports/local.ts'
import type { Log } from '../ports/log.ts'
import type { HeadCounters } from './port-head.ts'

export type Availability = 'online' | 'offline' | 'silent' | 'quarantined' | 'parked'

const minuteMs = 60_000
/** Lines in a minute. */
const linesMax = 12
/** Texts of a device in a second. */
const textsMax = 50
/** A line that lost so much of what it brought is worth a word. */
const noisyShare = 0.1

export class PortReport {
  readonly #name: string
  readonly #path: string
  readonly #clock: Clock
  readonly #log: Log
  readonly #voice: HouseVoice | undefined
  #availability: Availability | undefined
  #minuteEndsAtMs = 0
  #lineCount = 0
  #suppressedCount = 0
  #secondEndsAtMs = 0
  #textCount = 0
  #unitCount = 0
  #faultCount = 0

  constructor(name: string, path: string, clock: Clock, log: Log, voice: HouseVoice | undefined) {
    this.#name = name
    this.#path = path
    this.#clock = clock
    this.#log = log
    this.#voice = voice
  }

  get availability(): Availability | undefined {
    return this.#availability
  }

  /** @returns whether it is another one than before */
  become(availability: Availability): boolean {
    if (this.#availability === availability) return false
    this.#availability = availability
    this.#voice?.tell(this.#topic('availability'), availability)
    return true
  }

  tellStatus(status: object): void {
    this.#voice?.tell(this.#topic('status'), JSON.stringify(status))
  }

  /** A line for people; one too many in this minute is only counted. */
  line(level: 'info' | 'warn', fields: object, message: string): void {
    const nowMs = this.#clock.nowMs()
    if (nowMs >= this.#minuteEndsAtMs) {
      this.#minuteEndsAtMs = nowMs + minuteMs
      this.#lineCount = 0
    }
    if (this.#lineCount >= linesMax) {
      this.#suppressedCount++
      return
    }
    this.#lineCount++
    const suppressed = this.#suppressedCount === 0 ? {} : { suppressedCount: this.#suppressedCount }
    this.#suppressedCount = 0
    this.#log[level]({ path: this.#path, ...fields, ...suppressed }, message)
  }

  /** What the device prints; may be dropped. */
  text(text: Buffer): void {
    const nowMs = this.#clock.nowMs()
    if (nowMs >= this.#secondEndsAtMs) {
      this.#secondEndsAtMs = nowMs + 1000
      this.#textCount = 0
    }
    if (++this.#textCount > textsMax) return
    this.#log.debug({ path: this.#path, text: text.toString('utf8') }, 'serial device says')
    this.#voice?.say(this.#topic('log'), () => text)
  }

  /** Once a minute: a word about a line that brings damage, and how much. */
  judge(counters: HeadCounters): void {
    const faultCount = counters.crcErrorCount + counters.cobsErrorCount + counters.oversizeCount
    const faults = faultCount - this.#faultCount
    const units = counters.unitCount - this.#unitCount
    this.#faultCount = faultCount
    this.#unitCount = counters.unitCount
    if (faults === 0 || faults < noisyShare * (faults + units)) return
    const message =
      units === 0 ? 'serial line brings only garbage: check baud rate, protocol and wires' : 'serial line is noisy'
    this.#log.warn({ path: this.#path, faultCount: faults, count: units }, message)
  }

  #topic(what: string): string {
    return `$edge/serial/${this.#name}/${what}`
  }
}
