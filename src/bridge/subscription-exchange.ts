/**
 * SUBSCRIBE and UNSUBSCRIBE of a bridge and their answers, so that the remote broker comes to hold what is wanted
 * (remote-subscriptions.ts).
 */
import type { FilterMemory } from '../ports/filter-memory.ts'
import type { Log } from '../ports/log.ts'
import { type ControlPacket, PacketType, type SubscriptionRequest } from '../protocol/packet.ts'
import { ReasonCode, reasonName } from '../protocol/reason.ts'
import { isTemporary } from './pacer.ts'
import { RemoteSubscriptions, type SubscriptionChanges } from './remote-subscriptions.ts'

/** The link as the exchange needs it. */
export interface AskingLink {
  send(packet: ControlPacket): void
  /** A packet id without an answer to come; from now on there is one. */
  takePacketId(): number
  /** @returns false when nothing was asked under this packet id on this link */
  answered(packetId: number): boolean
}

export class SubscriptionExchange {
  readonly #held: RemoteSubscriptions
  readonly #log: Log
  readonly #link: AskingLink
  /** Without an answer, by packet id. */
  readonly #asked = new Map<number, SubscriptionChanges>()

  constructor(memory: FilterMemory, log: Log, link: AskingLink) {
    this.#held = new RemoteSubscriptions(memory)
    this.#log = log
    this.#link = link
  }

  /** Every answer has come. */
  get isSettled(): boolean {
    return this.#asked.size === 0
  }

  /** The remote broker has no session of ours. */
  forget(): void {
    this.#held.forget()
  }

  /** The link is gone; so are the answers to come. */
  abandon(): void {
    this.#asked.clear()
  }

  /** Asks for what the remote broker does not hold yet, and gives back what it holds and should not. */
  ask(wanted: readonly SubscriptionRequest[], version: 4 | 5): void {
    const { subscribe: subscriptions, unsubscribe: topicFilters } = this.#held.changesTo(wanted, version)
    if (topicFilters.length > 0) {
      const packetId = this.#expect({ subscribe: [], unsubscribe: topicFilters })
      this.#link.send({ type: PacketType.unsubscribe, packetId, topicFilters, properties: undefined })
    }
    if (subscriptions.length > 0) {
      const packetId = this.#expect({ subscribe: subscriptions, unsubscribe: [] })
      this.#link.send({ type: PacketType.subscribe, packetId, subscriptions, properties: undefined })
    }
  }

  #expect(changes: SubscriptionChanges): number {
    const packetId = this.#link.takePacketId()
    this.#asked.set(packetId, changes)
    return packetId
  }

  /** SUBACK or UNSUBACK. @returns whether something was refused that may be granted later */
  onAnswer(packetId: number, reasonCodes: readonly ReasonCode[], version: 4 | 5): boolean {
    const { subscribe, unsubscribe } = this.#asked.get(packetId) ?? { subscribe: [], unsubscribe: [] }
    if (!this.#asked.delete(packetId)) return false
    this.#link.answered(packetId)
    if (unsubscribe.length > 0) {
      // Before 5.0 it says nothing more.
      const codeOf = (index: number) => reasonCodes[index] ?? ReasonCode.success
      this.#held.unsubscribed(unsubscribe, (index) => codeOf(index) < 0x80)
      this.#warn(unsubscribe, codeOf, 'remote broker does not give up a subscription')
      return reasonCodes.some((reasonCode) => isTemporary(reasonCode))
    }
    const codeOf = (index: number) => reasonCodes[index] ?? ReasonCode.unspecifiedError
    this.#held.subscribed(subscribe, version, (index) => codeOf(index) < 0x80)
    const filters = subscribe.map(({ topicFilter }) => topicFilter)
    this.#warn(filters, codeOf, 'remote broker refuses a subscription')
    return reasonCodes.includes(ReasonCode.quotaExceeded)
  }

  #warn(topicFilters: readonly string[], codeOf: (index: number) => ReasonCode, what: string): void {
    for (const [index, topic] of topicFilters.entries()) {
      const reasonCode = codeOf(index)
      if (reasonCode >= 0x80) this.#log.warn({ topic, reasonCode: reasonName(reasonCode) }, what)
    }
  }
}
