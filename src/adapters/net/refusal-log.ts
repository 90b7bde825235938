/**
 * One log line for a peer that was refused before it became a link. A peer that tries without end must not fill the
 * disk: after `lineCountMax` lines in a period the rest are counted, and the next line tells how many were left out.
 */
import type { Log } from '../../ports/log.ts'

const periodMs = 10_000
const lineCountMax = 10

export class RefusalLog {
  readonly #log: Log
  readonly #name: string
  #periodStartMs = Number.NEGATIVE_INFINITY
  #lineCount = 0
  #leftOutCount = 0

  constructor(log: Log, name: string) {
    this.#log = log
    this.#name = name
  }

  add(remote: string, reason: string): void {
    const nowMs = performance.now()
    if (nowMs - this.#periodStartMs >= periodMs) {
      this.#periodStartMs = nowMs
      this.#lineCount = 0
    }
    if (this.#lineCount >= lineCountMax) {
      this.#leftOutCount++
      return
    }
    this.#lineCount++
    const leftOut = this.#leftOutCount > 0 ? { leftOutCount: this.#leftOutCount } : {}
    this.#leftOutCount = 0
    this.#log.info({ name: this.#name, remote, reason, ...leftOut }, 'client refused')
  }
}
