/** One lane on its way up: a durable session that sees that lane of the log only, with its own place and numbers. */
import type { Lane } from '../ports/lane.ts'
import type { LocalBroker, LocalConsumer, LocalSession } from '../ports/local.ts'
import type { Seq, Ticket } from '../ports/store.ts'
import { Numbering } from '../protocol/numbering.ts'
import type { Qos } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import type { Marks } from './marks.ts'

/** What all lanes of a bridge have in common (sender.ts). */
export interface Outlet {
  readonly canTake: boolean
  /** The remote side remembers QoS 2 packet ids when this process ends. */
  readonly outlivesUs: boolean
  /** Messages that `lane` may have under way besides those it has. */
  roomFor(lane: Lane): number
  send(lane: LaneSender, message: Publish, qos: Qos, retain: boolean, dup: boolean, packetId: number, seq: Seq): void
  release(packetId: number): void
  onDurable(lane: LaneSender, ticket: Ticket): void
}

export class LaneSender implements LocalConsumer {
  readonly lane: Lane
  readonly session: LocalSession
  readonly numbering: Numbering
  readonly #outlet: Outlet
  readonly #marks: Marks
  readonly #key: string
  readonly #epoch: string
  /** The last message that the remote side is known to have. */
  ackedSeq: Seq
  /** Messages sent on this connection that are not acknowledged. */
  underWayCount = 0
  /** Messages sent in this turn. */
  turnCount = 0

  constructor(parts: {
    lane: Lane
    /** Of the session, and of what is remembered of it. */
    name: string
    epoch: string
    local: LocalBroker
    marks: Marks
    outlet: Outlet
    inflightMax: number
    packetIds: { readonly first: number; readonly last: number }
  }) {
    const { lane, name, epoch, marks, inflightMax, packetIds } = parts
    this.lane = lane
    this.#outlet = parts.outlet
    this.#marks = marks
    this.#epoch = epoch
    this.#key = `bridge/${name}/acked/${lane}`
    const acked = marks.get(this.#key)
    this.ackedSeq = acked?.epoch === epoch ? acked.seq : 0
    this.numbering = new Numbering(epoch, lane, this.ackedSeq, inflightMax)
    this.session = parts.local.openSession(`$bridge/${name}`, this, { lane, packetIds })
    this.session.numbering = this.numbering
  }

  /** After a restart, what is sent next says that it follows this one. It may be older than the truth, never newer. */
  saveAcked(): void {
    if (this.ackedSeq > (this.#marks.get(this.#key)?.seq ?? 0))
      this.#marks.set(this.#key, { epoch: this.#epoch, seq: this.ackedSeq }, 'ram')
  }

  // ---- LocalConsumer ----

  get canTake(): boolean {
    return this.#outlet.canTake
  }

  get outlivesUs(): boolean {
    return this.#outlet.outlivesUs
  }

  get inflightMax(): number {
    return this.underWayCount + this.#outlet.roomFor(this.lane)
  }

  deliver(message: Publish, qos: Qos, retain: boolean, dup: boolean, packetId: number, seq: Seq): void {
    this.#outlet.send(this, message, qos, retain, dup, packetId, seq)
  }

  release(packetId: number): void {
    this.#outlet.release(packetId)
  }

  onDurable(ticket: Ticket): void {
    this.#outlet.onDurable(this, ticket)
  }
}
