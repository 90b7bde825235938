/**
 * Mosquitto's topics below `$SYS/broker`, for the dashboards that know them. Those that count packets of every kind are
 * missing, because only messages are counted here.
 */
import type { MessageLog } from '../ports/store.ts'
import type { Counters } from './counters.ts'
import type { Census } from './sys-topics.ts'

const minuteMs = 60_000

/** Minutes that an average looks back, as they stand in the topic. */
const spans = [1, 5, 15] as const

export class MosquittoTree {
  readonly #startedMs: number
  #countedMs: number
  /** By name: what had been counted up to `#countedMs`, and the averages per minute for each span. */
  readonly #loads = new Map<string, { count: number; averages: number[] }>()

  constructor(startedMs: number) {
    this.#startedMs = startedMs
    this.#countedMs = startedMs
  }

  /** Topic below `$SYS/broker/` and payload of each. Moves the averages on to `nowMs`. */
  topics(
    nowMs: number,
    version: string,
    census: Census,
    peak: Census,
    counters: Counters,
    messages: MessageLog,
  ): [name: string, value: string | number][] {
    return [
      ['version', `tidegate version ${version}`],
      ['uptime', `${Math.floor((nowMs - this.#startedMs) / 1000)} seconds`],
      ['bytes/received', counters.receivedBytes],
      ['bytes/sent', counters.sentBytes],
      ['clients/connected', census.connections],
      ['clients/disconnected', Math.max(0, census.sessions - census.connections)],
      ['clients/maximum', peak.connections],
      ['clients/total', census.sessions],
      ['publish/messages/dropped', counters.droppedMessages],
      ['publish/messages/received', counters.receivedMessages],
      ['publish/messages/sent', counters.sentMessages],
      ['retained messages/count', census.retained],
      ['shared_subscriptions/count', census.sharedSubscriptions],
      ['store/messages/bytes', messages.byteCount],
      ['store/messages/count', messages.messageCount],
      ['subscriptions/count', census.subscriptions],
      ...this.#averages(nowMs, [
        ['bytes/received', counters.receivedBytes],
        ['bytes/sent', counters.sentBytes],
        ['connections', counters.connectAccepted],
        ['publish/dropped', counters.droppedMessages],
        ['publish/received', counters.receivedMessages],
        ['publish/sent', counters.sentMessages],
      ]),
    ]
  }

  /** Exponential averages: what happened a span ago weighs 1/e of what happens now. */
  #averages(nowMs: number, counts: readonly (readonly [name: string, count: number])[]): [string, string][] {
    const elapsedMs = nowMs - this.#countedMs
    this.#countedMs = nowMs
    return counts.flatMap(([name, count]) => {
      const former = this.#loads.get(name)
      const perMinute = elapsedMs > 0 ? ((count - (former?.count ?? 0)) * minuteMs) / elapsedMs : 0
      const averages = spans.map((minutes, index) => {
        const average = former?.averages[index] ?? 0
        return perMinute + (average - perMinute) * Math.exp(-elapsedMs / (minutes * minuteMs))
      })
      this.#loads.set(name, { count, averages })
      return averages.map((average, index): [string, string] => [`load/${name}/${spans[index]}min`, average.toFixed(2)])
    })
  }
}
