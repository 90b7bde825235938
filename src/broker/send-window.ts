/**
 * QoS 1 and QoS 2 messages on their way to one client: sent, not yet acknowledged (MQTT 5.0 §4.3, §4.9). A slot is
 * found by the low bits of the packet id, so both sending and acknowledging are O(1) without a table of 65 535. Before
 * the first message there are no slots: most clients only publish, or only get QoS 0.
 *
 *   QoS 1:  sent --PUBACK--> free
 *   QoS 2:  sent --PUBREC--> released --PUBCOMP--> free
 *
 * Invariant: a packet id is used once at a time [MQTT-2.2.1-4]; ids go up by one and wrap from the last to the first.
 */
import { assert } from '../lib/assert.ts'
import type { OutboundRecord, Seq } from '../ports/store.ts'
import type { Publish } from '../protocol/packets/publish.ts'

export const SlotState = { free: 0, sentQos1: 1, sentQos2: 2, released: 3 } as const
export type SlotState = (typeof SlotState)[keyof typeof SlotState]

const packetIdMax = 65_535

const slotCountMin = 16

/** The slots of every window that has none: never written to, because it grows first. */
const noPacketIds = new Uint16Array(0)
const noStates = new Uint8Array(0)
const noSeqs = new Float64Array(0)
const noMessages: undefined[] = []

export class SendWindow {
  /** 0, or a power of two. */
  #capacity = 0
  #packetIds = noPacketIds
  #states = noStates
  #seqs = noSeqs
  #messages: (Publish | undefined)[] = noMessages
  #nextPacketId = 1
  #firstPacketId = 1
  #lastPacketId = packetIdMax
  /** Packet id of the oldest slot in use; slots are looked at from here. Meaningless while `count` is 0. */
  #oldestPacketId = 1
  #count = 0

  /** Takes packet ids from `first` to `last` only, where several windows share a connection. */
  restrict(first: number, last: number): void {
    this.#firstPacketId = first
    this.#lastPacketId = last
    if (this.#nextPacketId < first || this.#nextPacketId > last) this.#nextPacketId = first
  }

  get count(): number {
    return this.#count
  }

  /**
   * Takes a packet id for a message.
   * @param seq its place in the log, 0 when it is not there
   * @param message kept for sending again; undefined when the session ends with its connection
   */
  open(qos: 1 | 2, seq: Seq, message: Publish | undefined): number {
    assert(this.#count < packetIdMax, 'send window overflow')
    if (this.#capacity === 0) this.#grow()
    while (this.#states[this.#nextPacketId & (this.#capacity - 1)] !== SlotState.free) this.#makeRoom()
    const packetId = this.#nextPacketId
    this.#fill(packetId, qos === 1 ? SlotState.sentQos1 : SlotState.sentQos2, seq, message)
    this.#nextPacketId = this.#following(packetId)
    return packetId
  }

  /** Puts back what an earlier run had sent. Records come in the order they were sent: a later one takes over its packet id. */
  restore(record: OutboundRecord): void {
    if (this.stateOf(record.packetId) !== SlotState.free) this.close(record.packetId)
    while (this.#states[record.packetId & (this.#capacity - 1)] !== SlotState.free) this.#grow() // As well when there are none.
    const state = record.isReleased ? SlotState.released : record.qos === 1 ? SlotState.sentQos1 : SlotState.sentQos2
    this.#fill(record.packetId, state, record.seq, undefined)
    this.#nextPacketId = this.#following(record.packetId)
  }

  stateOf(packetId: number): SlotState {
    if (this.#count === 0) return SlotState.free
    const slot = packetId & (this.#capacity - 1)
    return this.#packetIds[slot] === packetId ? (this.#states[slot] as SlotState) : SlotState.free
  }

  seqOf(packetId: number): Seq {
    return this.#seqs[packetId & (this.#capacity - 1)] as number
  }

  messageOf(packetId: number): Publish | undefined {
    return this.#messages[packetId & (this.#capacity - 1)]
  }

  /** The message of a restored slot, once the log has it. */
  keep(packetId: number, message: Publish): void {
    this.#messages[packetId & (this.#capacity - 1)] = message
  }

  /** PUBREC came: from here on only PUBREL is sent again, never the message [MQTT-4.3.3-6]. */
  release(packetId: number): void {
    const slot = packetId & (this.#capacity - 1)
    this.#states[slot] = SlotState.released
    this.#messages[slot] = undefined
  }

  close(packetId: number): void {
    const slot = packetId & (this.#capacity - 1)
    this.#states[slot] = SlotState.free
    this.#messages[slot] = undefined
    this.#count--
    if (packetId === this.#oldestPacketId) this.#skipFree()
  }

  /**
   * The lowest seq that is not acknowledged; undefined when there is none. It need not have the oldest packet id: what
   * an earlier run had sent keeps its id, although an older message comes anew. O(count).
   */
  get oldestSeq(): Seq | undefined {
    let oldest: Seq | undefined
    for (let slot = 0; slot < this.#capacity; slot++) {
      const seq = this.#seqs[slot] as Seq
      if (seq > 0 && this.#states[slot] !== SlotState.free && (oldest === undefined || seq < oldest)) oldest = seq
    }
    return oldest
  }

  /** Packet id of the message at `seq`, or 0. O(count). */
  packetIdOfSeq(seq: Seq): number {
    for (const packetId of this.packetIds()) if (this.seqOf(packetId) === seq) return packetId
    return 0
  }

  /** The packet ids in use, in the order they were sent. */
  *packetIds(): Generator<number> {
    let left = this.#count
    for (let packetId = this.#oldestPacketId; left > 0; packetId = this.#following(packetId)) {
      if (this.stateOf(packetId) === SlotState.free) continue
      left--
      yield packetId
    }
  }

  toRecords(): OutboundRecord[] {
    const records: OutboundRecord[] = []
    for (const packetId of this.packetIds()) {
      const state = this.stateOf(packetId)
      const seq = this.seqOf(packetId)
      const qos = state === SlotState.sentQos1 ? 1 : 2
      // Without a place in the log nothing can be sent again; but the packet id of a QoS 2 message stays in use.
      if (seq > 0 || qos === 2) records.push({ packetId, seq, qos, isReleased: state === SlotState.released })
    }
    return records
  }

  #fill(packetId: number, state: SlotState, seq: Seq, message: Publish | undefined): void {
    const slot = packetId & (this.#capacity - 1)
    this.#packetIds[slot] = packetId
    this.#states[slot] = state
    this.#seqs[slot] = seq
    this.#messages[slot] = message
    if (this.#count === 0) this.#oldestPacketId = packetId
    this.#count++
  }

  #skipFree(): void {
    if (this.#count === 0) return
    do this.#oldestPacketId = this.#following(this.#oldestPacketId)
    while (this.stateOf(this.#oldestPacketId) === SlotState.free)
  }

  /** The slot of the next id is taken. While few slots are, one long unanswered message costs ids, not memory. */
  #makeRoom(): void {
    if (this.#count * 2 >= this.#capacity) this.#grow()
    else this.#nextPacketId = this.#following(this.#nextPacketId)
  }

  #grow(): void {
    const packetIds = [...this.packetIds()]
    const kept = packetIds.map((packetId) => ({
      packetId,
      state: this.stateOf(packetId),
      seq: this.seqOf(packetId),
      message: this.messageOf(packetId),
    }))
    this.#capacity = Math.max(slotCountMin, this.#capacity * 2)
    this.#packetIds = new Uint16Array(this.#capacity)
    this.#states = new Uint8Array(this.#capacity)
    this.#seqs = new Float64Array(this.#capacity)
    this.#messages = new Array(this.#capacity).fill(undefined)
    this.#count = 0
    for (const entry of kept) this.#fill(entry.packetId, entry.state, entry.seq, entry.message)
  }

  #following(packetId: number): number {
    return packetId === this.#lastPacketId ? this.#firstPacketId : packetId + 1
  }
}
