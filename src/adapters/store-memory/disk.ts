/** What is durable in a MemoryStore. It outlives the store, so that a test can crash one and open the next over it. */

import type { DelayRecord } from '../../ports/delays.ts'
import { lanes } from '../../ports/lane.ts'
import type { LossRecord } from '../../ports/ledger.ts'
import type { Mark, OutboundRecord, Seq, SessionRecord } from '../../ports/store.ts'
import type { Publish } from '../../protocol/packets/publish.ts'
import { LaneQueue } from './lane-queue.ts'

export class MemoryDisk {
  epoch: string | undefined
  /** Seq of the last message. */
  lastSeq: Seq = 0
  /** By lane. */
  readonly lanes: readonly LaneQueue[] = lanes.map(() => new LaneQueue())
  readonly sessions = new Map<string, SessionRecord>()
  /** What was added to `outbound` of a session since it was saved, by seq and packet id. */
  readonly #outbound = new Map<string, Map<string, OutboundRecord>>()
  readonly inboxes = new Map<string, Set<number>>()
  readonly retained = new Map<string, Publish>()
  readonly marks = new Map<string, Mark>()
  readonly delays = new Map<number, DelayRecord>()
  readonly losses = new Map<number, LossRecord>()

  saveSession(record: SessionRecord): void {
    const stored = this.sessions.get(record.clientId)
    if (stored !== undefined && stored.epoch > record.epoch) return
    this.sessions.set(record.clientId, record)
    this.#outbound.set(record.clientId, new Map())
  }

  saveCursor(clientId: string, cursor: Seq): void {
    const stored = this.sessions.get(clientId)
    if (stored === undefined) return
    this.sessions.set(clientId, { ...stored, cursor })
    const added = this.#outbound.get(clientId)
    for (const [key, outbound] of added ?? []) if (isPassed(outbound, cursor)) added?.delete(key)
  }

  saveOutbound(clientId: string, outbound: OutboundRecord): void {
    this.#outbound.get(clientId)?.set(`${outbound.seq} ${outbound.packetId}`, outbound)
  }

  removeSession(clientId: string): void {
    this.sessions.delete(clientId)
    this.#outbound.delete(clientId)
  }

  *loadSessions(): Generator<SessionRecord> {
    for (const record of this.sessions.values()) {
      const outbound = new Map(record.outbound.map((each) => [`${each.seq} ${each.packetId}`, each]))
      for (const [key, added] of this.#outbound.get(record.clientId) ?? []) outbound.set(key, added)
      yield { ...record, outbound: [...outbound.values()].filter((each) => !isPassed(each, record.cursor)) }
    }
  }

  putInbox(clientId: string, packetId: number): void {
    const packetIds = this.inboxes.get(clientId)
    if (packetIds === undefined) this.inboxes.set(clientId, new Set([packetId]))
    else packetIds.add(packetId)
  }
}

function isPassed({ seq }: OutboundRecord, cursor: Seq): boolean {
  return seq > 0 && seq <= cursor
}
