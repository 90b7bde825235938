/** A bridge's part in bringing retained messages together (retained-sync.ts): when, over which line, by which rules. */
import type { Clock } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
import { retainedTalk } from '../ports/peer.ts'
import type { RetainedTopic } from '../ports/retained.ts'
import { Publish } from '../protocol/packets/publish.ts'
import type { RemoteSide } from './handshake.ts'
import type { MappingRule } from './mapping.ts'
import { type PairedTopic, RetainedPairs } from './retained-pairs.ts'
import { RetainedSync, type SyncedBridge } from './retained-sync.ts'
import type { RetainedQuestion } from './retained-talk.ts'
import type { Sender } from './sender.ts'
import type { Uplink } from './uplink.ts'

export class RetainedExchange implements SyncedBridge {
  readonly #sync: RetainedSync
  readonly #sender: Sender
  readonly #uplink: () => Uplink
  readonly #inflightMax: number
  #pairs: RetainedPairs
  /** How far the timeline above is ahead of ours; undefined while there is nobody to compare with. */
  #aheadMs: number | undefined
  #isDue = false

  constructor(parts: {
    settings: {
      readonly inflightMax: number
      readonly out: readonly MappingRule[]
      readonly in: readonly MappingRule[]
    }
    clock: Clock
    log: Log
    sender: Sender
    uplink: () => Uplink
  }) {
    const { settings } = parts
    this.#sync = new RetainedSync(parts.clock, parts.log, this)
    this.#sender = parts.sender
    this.#uplink = parts.uplink
    this.#inflightMax = settings.inflightMax
    this.#pairs = new RetainedPairs(settings.out, settings.in)
  }

  get sentCount(): number {
    return this.#sync.sentCount
  }

  get receivedCount(): number {
    return this.#sync.receivedCount
  }

  map(out: readonly MappingRule[], into: readonly MappingRule[]): void {
    this.#pairs = new RetainedPairs(out, into)
    this.#isDue = true
  }

  online({ isPeer, aheadMs }: RemoteSide): void {
    this.#aheadMs = isPeer ? aheadMs : undefined
    this.#isDue = true
  }

  offline(): void {
    this.#aheadMs = undefined
    this.#sync.cancel()
  }

  /** Called once a second. Most of what differs after a time apart is in the log, and comes with the backlog. */
  look(): void {
    if (!this.#isDue || this.#aheadMs === undefined || this.#sender.backlogCount > this.#inflightMax) return
    this.#isDue = false
    this.#sync.begin(this.#pairs, this.#aheadMs)
  }

  onAnswer(payload: string): void {
    this.#sync.onAnswer(payload)
  }

  // ---- SyncedBridge ----

  get canTake(): boolean {
    return this.#uplink().canTake
  }

  retained(topicFilter: string): Generator<RetainedTopic | undefined> {
    return this.#sender.session.retainedHistory(topicFilter)
  }

  ask(question: RetainedQuestion): void {
    const topic = retainedTalk.question + question.ask
    const message = Publish.create({ topic, payload: JSON.stringify(question) })
    this.#uplink().publish(message, 0, false, false, 0, undefined)
  }

  sendRetained({ here, there }: PairedTopic, changedAtMs: number): void {
    let retained: Publish | undefined
    this.#sender.session.retained(here, (message) => {
      retained = message
    })
    this.#sender.sendRetained(retained ?? deletion(here, changedAtMs), there)
  }

  deleteHere({ here }: PairedTopic, changedAtMs: number): void {
    this.#sender.session.publish(deletion(here, changedAtMs))
  }
}

/** QoS 1, as nobody remembers with which it was published. */
function deletion(topic: string, changedAtMs: number): Publish {
  const message = Publish.create({ topic, payload: '', qos: 1, retain: true })
  message.changedAtMs = changedAtMs
  return message
}
