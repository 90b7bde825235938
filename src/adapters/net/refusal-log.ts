/**
 * One log line for a peer that was refused before it became a link. A peer that tries without end must not fill the
 * disk: after `lineCountMax` lines in a period the rest are counted, and the next line tells how many were left out.
 * Whoever listens is told of each of them.
 */
import type { Log } from '../../ports/log.ts'
import type { Acceptor, ListenerTraits } from '../../ports/transport.ts'

const periodMs = 10_000
const lineCountMax = 10

export class RefusalLog {
  readonly #log: Log
  readonly #traits: ListenerTraits
  readonly #acceptor: Acceptor
  #periodStartMs = Number.NEGATIVE_INFINITY
  #lineCount = 0
  #leftOutCount = 0

  constructor(log: Log, traits: ListenerTraits, acceptor: Acceptor) {
    this.#log = log
    this.#traits = traits
    this.#acceptor = acceptor
  }

  add(remote: string, reason: string): void {
    this.#acceptor.onRefused?.(this.#traits)
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
    this.#log.info({ name: this.#traits.name, remote, reason, ...leftOut }, 'client refused')
  }
}
