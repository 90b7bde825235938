/**
 * What of the messages that wait for one session is worth sending when it reads on, topic by topic: all, only the
 * newest, or one in a while. Live messages, which do not wait, all go. Which message is the newest is noted as messages
 * are routed past the session, and after a restart as the session counts what waits (session-queue.ts).
 */
import type { KeepRule } from '../ports/local.ts'
import type { Seq } from '../ports/store.ts'

/** Beyond so many topics what was noted is forgotten, and more is sent than has to be. */
const topicCountMax = 100_000

export class Thinning {
  readonly #keepOf: (topic: string) => KeepRule | undefined
  /** By topic: the last message that waits. */
  readonly #newest = new Map<string, Seq>()
  /** By topic: the last message that was taken for a sample. */
  readonly #samples = new Map<string, { readonly seq: Seq; readonly atMs: number }>()

  constructor(keepOf: (topic: string) => KeepRule | undefined) {
    this.#keepOf = keepOf
  }

  /** Nothing waits. */
  clear(): void {
    this.#newest.clear()
    this.#samples.clear()
  }

  /** A message waits from now on. */
  add(seq: Seq, topic: string): void {
    const keep = this.#keepOf(topic)?.keep ?? 'all'
    if (keep === 'all') return
    if (this.#newest.size >= topicCountMax && !this.#newest.has(topic)) this.#newest.clear()
    this.#newest.set(topic, seq)
  }

  /**
   * Whether the message at `seq`, the oldest that waits, has to go; the same answer whenever it is asked again.
   * @param atMs when it was stored
   */
  excess(seq: Seq, topic: string, atMs: number, nowMs: number): 'replaced' | 'sampled' | 'too_old' | undefined {
    const rule = this.#keepOf(topic)
    if (rule === undefined) return undefined
    if (nowMs - atMs > rule.ageMsMax) return 'too_old'
    // Whatever else goes, the last state arrives.
    if (rule.keep === 'all' || (this.#newest.get(topic) ?? seq) <= seq) return undefined
    if (rule.keep === 'last') return 'replaced'
    const sample = this.#samples.get(topic)
    if (sample !== undefined && sample.seq !== seq && atMs - sample.atMs < rule.sampleMs) return 'sampled'
    if (this.#samples.size >= topicCountMax) this.#samples.clear()
    this.#samples.set(topic, { seq, atMs })
    return undefined
  }
}
