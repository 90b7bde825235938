/**
 * How a bridge really is. A connection that is open says little, so the remote Tidegate is asked now and then with a
 * probe that it answers only after a group commit, with the numbers of what it has: whoever acknowledged more than it
 * has does not keep what it is given.
 *
 *   offline   no connection                         stuck   connected, and nothing comes through
 *   degraded  comes through, slower than it should  lying   acknowledged what it does not have
 *   ok        none of these
 */
import type { HealthState } from '../ports/bridge-status.ts'
import type { Mark } from '../ports/store.ts'

/** An answer that takes this many times the usual is slow. */
const slowFactor = 5
const slowMsMin = 1000

export interface Probe {
  readonly number: number
  readonly sentAtMs: number
  /** By lane, what the remote side had acknowledged when it was asked. */
  readonly acked: readonly number[]
}

export class Health {
  readonly #probeMs: number
  readonly #stuckMs: number
  #isOnline = false
  #probe: Probe | undefined
  #probeNumber = 0
  #lastProbeMs = 0
  #answerMs: number | undefined
  #quickestMs = Number.POSITIVE_INFINITY
  #isLying = false
  /** When something last came through, or there was nothing to bring. */
  #progressMs = 0
  #isWaiting = false

  /**
   * @param probeMs time between probes
   * @param stuckMs nothing came through for so long: the line is stuck
   */
  constructor(probeMs: number, stuckMs: number) {
    this.#probeMs = probeMs
    this.#stuckMs = stuckMs
  }

  get answerMs(): number | undefined {
    return this.#answerMs
  }

  connected(nowMs: number): void {
    this.#isOnline = true
    this.#probe = undefined
    this.#lastProbeMs = Number.NEGATIVE_INFINITY
    this.#progressMs = nowMs
  }

  disconnected(): void {
    this.#isOnline = false
    this.#probe = undefined
  }

  /** Something was acknowledged. */
  progressed(nowMs: number): void {
    this.#progressMs = nowMs
  }

  /** @param isWaiting messages are under way */
  observe(isWaiting: boolean, nowMs: number): void {
    if (!isWaiting) this.#progressMs = nowMs
    this.#isWaiting = isWaiting
  }

  /** The number of the probe to send now; undefined when it is not time. */
  dueProbe(acked: readonly number[], nowMs: number): number | undefined {
    if (!this.#isOnline || this.#probe !== undefined || nowMs - this.#lastProbeMs < this.#probeMs) return undefined
    this.#lastProbeMs = nowMs
    this.#probe = { number: ++this.#probeNumber, sentAtMs: nowMs, acked: [...acked] }
    return this.#probeNumber
  }

  /** @param marks what the remote side has, by lane; undefined where it has nothing of this log */
  answered(number: number, marks: readonly (Mark | undefined)[], epoch: string, nowMs: number): void {
    const probe = this.#probe
    if (probe?.number !== number) return
    this.#probe = undefined
    this.#answerMs = nowMs - probe.sentAtMs
    this.#quickestMs = Math.min(this.#quickestMs, this.#answerMs)
    this.#isLying = probe.acked.some((seq, lane) => {
      const mark = marks[lane]
      return seq > 0 && (mark === undefined || mark.epoch !== epoch || mark.seq < seq)
    })
  }

  stateAt(nowMs: number): HealthState {
    if (!this.#isOnline) return 'offline'
    if (this.#isLying) return 'lying'
    const unansweredMs = this.#probe === undefined ? 0 : nowMs - this.#probe.sentAtMs
    if (unansweredMs >= this.#stuckMs || (this.#isWaiting && nowMs - this.#progressMs >= this.#stuckMs)) return 'stuck'
    const slowMs = Math.max(slowMsMin, slowFactor * this.#quickestMs)
    return unansweredMs > slowMs || (this.#answerMs ?? 0) > slowMs ? 'degraded' : 'ok'
  }
}
