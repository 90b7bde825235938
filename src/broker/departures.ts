/**
 * The way out for what must be stored before the client is told (MQTT 5.0 §4.3.3): a QoS 2 PUBLISH leaves once the
 * store knows its packet id, PUBREL once the store knows that the message was received. So the message is delivered
 * once, whenever the process ends. What comes behind in the same session waits with it, so that the order stays.
 *
 * That a message is done with is not stored: the cursor passes it, and until then PUBREL may come again.
 */
import type { Seq, Store, Ticket } from '../ports/store.ts'
import type { Counters } from './counters.ts'
import type { LaneRules } from './lane-rules.ts'
import type { Ledger } from './ledger.ts'
import { noTicket } from './publish.ts'
import { SlotState } from './send-window.ts'
import type { Attachment, Outgoing, Session } from './session.ts'

/** A session that reads a backlog has its cursor stored each so many messages: a client gets no more of it twice. */
const readSeqs = 1000

export class Departures {
  readonly #store: Store
  readonly #counters: Counters
  readonly #ledger: Ledger
  readonly #laneRules: LaneRules
  readonly #waiting = new Set<Session>()

  constructor(parts: { store: Store; counters: Counters; ledger: Ledger; laneRules: LaneRules }) {
    this.#store = parts.store
    this.#counters = parts.counters
    this.#ledger = parts.ledger
    this.#laneRules = parts.laneRules
  }

  /** Sessions with something that waits for a group commit. */
  get waiting(): ReadonlySet<Session> {
    return this.#waiting
  }

  /**
   * Stores what the packet id of a QoS 2 message stands for.
   * @param routedSeq how far live sessions were served
   * @returns the commit to wait for before the client is told
   */
  record(session: Session, attachment: Attachment, packetId: number, routedSeq: Seq): Ticket {
    if (!isStored(session, attachment)) return noTicket
    const { clientId, window } = session
    const { sessions } = this.#store
    const isReleased = window.stateOf(packetId) === SlotState.released
    sessions.saveOutbound(clientId, { packetId, seq: window.seqOf(packetId), qos: 2, isReleased })
    // With it goes the cursor, so that no more of this has to be kept than is open.
    this.#saveCursor(session, routedSeq)
    return this.#store.lastTicket
  }

  /** A session read on in the log, which nothing else may be written beside. @param routedSeq as above */
  hasRead(session: Session, routedSeq: Seq): void {
    if (session.nextSeq - session.savedCursor <= readSeqs) return
    if (session.cursor(routedSeq) - session.savedCursor >= readSeqs) this.#saveCursor(session, routedSeq)
  }

  #saveCursor(session: Session, routedSeq: Seq): void {
    const cursor = session.cursor(routedSeq)
    if (cursor === session.savedCursor) return
    session.savedCursor = cursor
    this.#store.sessions.saveCursor(session.clientId, cursor)
  }

  /** The commit to wait for before a QoS 2 message is sent again: at the latest the claim of its session stored it. */
  ticketAgain(session: Session, attachment: Attachment): Ticket {
    return isStored(session, attachment) ? this.#store.lastTicket : noTicket
  }

  publish(session: Session, attachment: Attachment, outgoing: Outgoing): void {
    session.outgoing.push(outgoing)
    this.letOut(session, attachment)
  }

  pubrel(session: Session, attachment: Attachment, packetId: number, ticket: Ticket): void {
    session.outgoing.push({
      ticket,
      packetId,
      message: undefined,
      retain: false,
      dup: false,
      recipient: undefined,
    })
    this.letOut(session, attachment)
  }

  /** Sends what has not to wait any more, in order, as far as the way out takes it. */
  letOut(session: Session, attachment: Attachment): void {
    const { outgoing } = session
    for (let next = outgoing.peek(); next !== undefined && attachment.canTake; next = outgoing.peek()) {
      if (next.ticket > this.#store.durableTicket) {
        this.#waiting.add(session)
        return
      }
      outgoing.shift()
      this.#send(session, attachment, next)
    }
    this.#waiting.delete(session)
  }

  /** Nobody is there any more: the window knows what to send when somebody is. */
  forget(session: Session): void {
    session.outgoing.clear()
    this.#waiting.delete(session)
  }

  #send(session: Session, attachment: Attachment, outgoing: Outgoing): void {
    const { packetId, message, retain, dup, recipient } = outgoing
    const { window } = session
    const state = window.stateOf(packetId)
    if (message === undefined) {
      if (state === SlotState.released) attachment.sendPubrel(packetId)
      return
    }
    if (window.messageOf(packetId) !== message) return // A client may acknowledge what it was not sent.
    const qos = state === SlotState.sentQos1 ? 1 : 2
    if (attachment.sendPublish(message, qos, retain, dup, packetId, window.seqOf(packetId), recipient)) {
      this.#counters.sentMessages++
    } else {
      const seq = window.seqOf(packetId)
      window.close(packetId)
      this.#counters.dropped.tooLarge++
      if (seq > 0) this.#ledger.dropped('too_large', session.clientId, this.#laneRules.laneOf(message), seq)
      session.memberships?.onAcknowledged(packetId)
    }
  }
}

function isStored(session: Session, attachment: Attachment): boolean {
  return session.isDurable && attachment.outlivesUs
}
