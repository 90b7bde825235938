/**
 * Acknowledgements to one client. One that has to wait for a group commit leaves when that is durable and never
 * before; the others leave at once, unless one before them waits: they go in the order in which the packets came
 * [MQTT-4.6.0-2] [MQTT-4.6.0-3].
 *
 * Before 5.0 there is no Receive Maximum, and not reading on is the only way to hold a publisher back: so the client
 * is not listened to while as many wait as Receive Maximum would allow.
 *
 * SUBACK and UNSUBACK wait for so long and no longer: in an outage of the store they say then that nothing was done, and
 * what was asked for is taken back. Before 5.0 UNSUBACK cannot say so, and the connection is closed. Neither waits for
 * anything but its own commit, because only PUBACK and PUBREC have an order.
 */
import { RingQueue } from '../lib/ring-queue.ts'
import type { Ticket } from '../ports/store.ts'
import { type Ack, type AckType, PacketType, type Suback, type Unsuback } from '../protocol/packet.ts'
import { ReasonCode } from '../protocol/reason.ts'
import type { Core } from './core.ts'
import { Hold, type Intake } from './intake.ts'
import type { Outbox } from './outbox.ts'
import { noTicket } from './publish.ts'
import { reasonText } from './reason-text.ts'
import type { Session } from './session.ts'

type Waiting = {
  readonly ticket: Ticket
  readonly packet: Ack | Answer
}

type Answer = Suback | Unsuback

/** What SUBSCRIBE or UNSUBSCRIBE asked for. One of these is called once, but for `onUnanswerable`. */
export interface Asked {
  /** The answer is out; what comes behind it. */
  onSent(): void
  /** It could not be waited for. What was asked for later is taken back before. */
  takeBack(): void
  /** The client went while it waited. */
  onGone?(): void
  /** What was asked for is taken back, and in this version no answer says so. */
  onUnanswerable?(): void
}

/** A SUBACK or UNSUBACK among those that wait. */
interface Promised {
  readonly answer: Answer
  readonly sinceMs: number
  readonly asked: Asked
}

export class AckQueue {
  readonly #core: Core
  readonly #intake: Intake
  readonly #outbox: Outbox
  /** Bounded by the pause, and in 5.0 by the connection, which counts what is unacknowledged. */
  readonly #waiting = new RingQueue<Waiting>(Number.POSITIVE_INFINITY)
  #pubackCount = 0
  /** In the order of `#waiting`; undefined while there was none. */
  #promised: Promised[] | undefined

  constructor(core: Core, intake: Intake, outbox: Outbox) {
    this.#core = core
    this.#intake = intake
    this.#outbox = outbox
  }

  /** PUBACKs that wait: QoS 1 messages of the client that are not acknowledged. */
  get pubackCount(): number {
    return this.#pubackCount
  }

  /** The commit that everything done for a durable session so far waits for. */
  ticketOf(session: Session): Ticket {
    return session.isDurable ? this.#core.store.lastTicket : noTicket
  }

  /** The commit that its subscriptions are in, and with which what is published elsewhere comes as well. */
  subscribedTicketOf(session: Session): Ticket {
    return Math.max(session.subscribedTicket, this.#core.sessions.followTicket)
  }

  /** PUBACK, PUBREC or PUBCOMP. @param ticket the commit to wait for */
  acknowledge(ticket: Ticket, type: AckType, packetId: number, reasonCode: ReasonCode): void {
    // Before 5.0 an acknowledgement cannot say no. A message that the store refused stays unacknowledged, so that it is
    // sent again; one that may not be published is acknowledged and dropped.
    if (reasonCode === ReasonCode.quotaExceeded && this.#outbox.version < 5) return
    const isDue = this.#isDue(ticket)
    if (isDue && reasonCode < 0x80) this.#outbox.sendAck(type, packetId, reasonCode)
    else if (isDue) this.#send({ type, packetId, reasonCode, properties: undefined })
    else this.#wait(ticket, { type, packetId, reasonCode, properties: undefined })
  }

  /** @param ticket the commit to wait for, which is no earlier one than that of the answer before */
  answer(ticket: Ticket, answer: Answer, asked: Asked): void {
    if (ticket <= this.#core.store.durableTicket) {
      this.#send(answer)
      asked.onSent()
      return
    }
    this.#promised ??= []
    this.#promised.push({ answer, sinceMs: this.#core.clock.nowMs(), asked })
    this.#wait(ticket, answer)
  }

  /** Refuses what was asked for before `beforeMs`, and with it all that came later. @returns how many answers that are */
  refuseOverdue(beforeMs: number): number {
    const promised = this.#promised
    const first = promised?.[0]
    if (promised === undefined || first === undefined || first.sinceMs > beforeMs) return 0
    this.#promised = undefined
    for (let left = this.#waiting.length; left > 0; left--) {
      const next = this.#waiting.shift() as Waiting
      if (!isAnswer(next.packet)) this.#waiting.push(next)
    }
    // The last first: what it replaced may have been asked for here.
    for (const { asked } of promised.toReversed()) asked.takeBack()
    let unanswerable: Asked | undefined
    for (const { answer, asked } of promised) {
      if (answer.type === PacketType.suback || this.#outbox.version === 5) this.#send(refused(answer))
      else unanswerable ??= asked
    }
    unanswerable?.onUnanswerable?.() // MQTT 3.1.1 §4.8
    this.onDurable(this.#core.store.durableTicket)
    return promised.length
  }

  /** A group commit is durable. @returns whether acknowledgements still wait */
  onDurable(ticket: Ticket): boolean {
    for (let next = this.#waiting.peek(); next !== undefined; next = this.#waiting.peek()) {
      if (next.ticket > ticket) break
      this.#waiting.shift()
      if (next.packet.type === PacketType.puback) this.#pubackCount--
      const promised = isAnswer(next.packet) ? this.#promised?.shift() : undefined
      this.#send(next.packet)
      promised?.asked.onSent()
    }
    if (this.#waiting.length * 2 < this.#core.settings.receiveMaximum) this.#intake.release(Hold.acknowledgements)
    return this.#waiting.length > 0
  }

  /** Nobody is there to be told any more. */
  close(): void {
    this.#waiting.clear()
    for (const { asked } of this.#promised ?? []) asked.onGone?.()
    this.#promised = undefined
    this.#pubackCount = 0
    this.#core.awaitingDurable.delete(this)
  }

  /** With the reason in words if something is refused and the client wants to hear it [MQTT-3.1.2-29]. */
  #send(packet: Waiting['packet']): void {
    if ('reasonCode' in packet && packet.reasonCode === ReasonCode.success) {
      this.#outbox.sendAck(packet.type, packet.packetId, packet.reasonCode)
      return
    }
    const why = this.#outbox.wantsReasons ? textFor(packet) : undefined
    if (why === undefined) this.#outbox.send(packet)
    else this.#outbox.sendWithReason(packet, why)
  }

  #isDue(ticket: Ticket): boolean {
    return ticket <= this.#core.store.durableTicket && this.#waiting.length === 0
  }

  #wait(ticket: Ticket, packet: Waiting['packet']): void {
    this.#waiting.push({ ticket, packet })
    if (packet.type === PacketType.puback) this.#pubackCount++
    this.#core.awaitingDurable.add(this)
    if (this.#waiting.length >= this.#core.settings.receiveMaximum) this.#intake.hold(Hold.acknowledgements)
  }
}

function isAnswer({ type }: Waiting['packet']): boolean {
  return type === PacketType.suback || type === PacketType.unsuback
}

/** Nothing of what it says was done. */
function refused(answer: Answer): Answer {
  const isSuback = answer.type === PacketType.suback
  const refusal = isSuback ? ReasonCode.quotaExceeded : ReasonCode.implementationSpecificError
  const isDone = (code: ReasonCode) => (isSuback ? code < 0x80 : code === ReasonCode.success)
  return { ...answer, reasonCodes: answer.reasonCodes.map((code) => (isDone(code) ? refusal : code)) }
}

function textFor(packet: Waiting['packet']): string | undefined {
  if ('reasonCode' in packet) return reasonText(packet.reasonCode)
  for (const reasonCode of packet.reasonCodes) {
    const text = reasonText(reasonCode)
    if (text !== undefined) return text
  }
  return undefined
}
