/** What is durable in a MemoryStore. It outlives the store, so that a test can crash one and open the next over it. */
import { NumberedQueue } from '../../lib/numbered-queue.ts'
import type { Mark, Seq, SessionRecord, StoredMessage } from '../../ports/store.ts'
import type { Publish } from '../../protocol/packets/publish.ts'

export class MemoryDisk {
  epoch: string | undefined
  readonly messages = new NumberedQueue<StoredMessage>(1)
  readonly sessions = new Map<string, SessionRecord>()
  readonly inboxes = new Map<string, Set<number>>()
  readonly retained = new Map<string, Publish>()
  readonly marks = new Map<string, Mark>()

  saveSession(record: SessionRecord): void {
    const stored = this.sessions.get(record.clientId)
    if (stored === undefined || stored.epoch <= record.epoch) this.sessions.set(record.clientId, record)
  }

  saveCursor(clientId: string, cursor: Seq): void {
    const stored = this.sessions.get(clientId)
    if (stored !== undefined) this.sessions.set(clientId, { ...stored, cursor })
  }

  putInbox(clientId: string, packetId: number): void {
    const packetIds = this.inboxes.get(clientId)
    if (packetIds === undefined) this.inboxes.set(clientId, new Set([packetId]))
    else packetIds.add(packetId)
  }
}
