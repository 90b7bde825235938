/** One topic filter of one session, with its options (MQTT 5.0 §3.8.3.1). Lives in the session and in the router. */

import type { Seq, SubscriptionRecord } from '../ports/store.ts'
import type { Qos } from '../protocol/packet.ts'
import type { Session } from './session.ts'

export class Subscription {
  readonly session: Session
  readonly topicFilter: string
  readonly qos: Qos
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
  readonly subscriptionIdentifier: number | undefined
  /** Messages up to here were in the log before the subscription was. */
  readonly sinceSeq: Seq
  /** Given back; it is in force until that is stored, and no longer part of what is stored. */
  isLeaving = false
  /** Place in the router's set for this filter; the router's alone. */
  index = -1

  constructor(session: Session, record: SubscriptionRecord) {
    this.session = session
    this.topicFilter = record.topicFilter
    this.qos = record.qos
    this.noLocal = record.noLocal
    this.retainAsPublished = record.retainAsPublished
    this.retainHandling = record.retainHandling
    this.subscriptionIdentifier = record.subscriptionIdentifier
    this.sinceSeq = record.sinceSeq
  }

  /** The same is stored for both. */
  isLike(other: Subscription): boolean {
    return (
      this.qos === other.qos &&
      this.noLocal === other.noLocal &&
      this.retainAsPublished === other.retainAsPublished &&
      this.retainHandling === other.retainHandling &&
      this.subscriptionIdentifier === other.subscriptionIdentifier &&
      this.sinceSeq === other.sinceSeq
    )
  }

  toRecord(): SubscriptionRecord {
    return {
      topicFilter: this.topicFilter,
      qos: this.qos,
      noLocal: this.noLocal,
      retainAsPublished: this.retainAsPublished,
      retainHandling: this.retainHandling,
      subscriptionIdentifier: this.subscriptionIdentifier,
      sinceSeq: this.sinceSeq,
    }
  }
}
