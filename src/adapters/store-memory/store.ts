/**
 * The Store port in memory: for tests, and for `durability = "ram"`, where durable means for as long as the process
 * lives. It keeps the rhythm of a store on disk: writes take effect, and become durable, at the end of the turn.
 */
import { assert, must } from '../../lib/assert.ts'
import type { Clock } from '../../ports/clock.ts'
import type { DelayStore } from '../../ports/delays.ts'
import type { LedgerStore } from '../../ports/ledger.ts'
import type { Random } from '../../ports/random.ts'
import { SoleClaims } from '../../ports/sole-claims.ts'
import type {
  MarkStore,
  Qos2Inbox,
  RetainedStore,
  SessionStore,
  Store,
  StoreLoader,
  StoreOwner,
  Ticket,
} from '../../ports/store.ts'
import { MemoryDisk } from './disk.ts'
import { MemoryMessageLog } from './message-log.ts'

export interface MemoryStoreOptions {
  readonly clock: Clock
  readonly random: Random
  /** What an earlier store left behind; without it the store is new. */
  readonly disk?: MemoryDisk
}

export class MemoryStore implements Store {
  readonly log: MemoryMessageLog
  readonly sessions: SessionStore
  readonly inbox: Qos2Inbox
  readonly retained: RetainedStore
  readonly marks: MarkStore
  readonly ledger: LedgerStore
  readonly delays: DelayStore
  readonly isWritable = true
  durableTicket: Ticket = 0
  readonly #clock: Clock
  readonly #disk: MemoryDisk
  /** The writes of the group commit after `durableTicket`. */
  #changes: (() => void)[] = []
  #owner: StoreOwner | undefined
  #isClosing = false
  #isClosed = false

  constructor({ clock, random, disk = new MemoryDisk() }: MemoryStoreOptions) {
    this.#clock = clock
    this.#disk = disk
    disk.epoch ??= random.hex(8)
    const join = (change: () => void): void => this.#join(change)
    const claims = new SoleClaims()
    for (const { clientId, epoch } of disk.sessions.values()) claims.save(clientId, epoch)
    this.log = new MemoryMessageLog(disk, () => clock.nowMs(), join)
    this.sessions = {
      claim: (clientId, answer) => answer({ kind: 'ours', epoch: claims.claim(clientId), record: undefined }),
      release: (clientId, epoch) => claims.release(clientId, epoch),
      save: (record) => {
        const isOwner = claims.save(record.clientId, record.epoch)
        join(() => isOwner && disk.saveSession(record))
      },
      saveCursor: (clientId, cursor) => join(() => disk.saveCursor(clientId, cursor)),
      saveOutbound: (clientId, outbound) => join(() => disk.saveOutbound(clientId, outbound)),
      remove: (clientId) => {
        claims.remove(clientId)
        join(() => disk.removeSession(clientId))
      },
    }
    this.inbox = {
      put: (clientId, packetId) => join(() => disk.putInbox(clientId, packetId)),
      release: (clientId, packetId) => join(() => disk.inboxes.get(clientId)?.delete(packetId)),
      clear: (clientId) => join(() => disk.inboxes.delete(clientId)),
    }
    this.retained = {
      set: (publish) => {
        publish.own()
        join(() => disk.retained.set(publish.topic, publish))
      },
      clear: (topic) => join(() => disk.retained.delete(topic)),
    }
    this.marks = { set: (key, mark) => join(() => disk.marks.set(key, mark)) }
    this.delays = {
      put: (record) => {
        record.message.own()
        join(() => disk.delays.set(record.id, record))
      },
      remove: (id) => join(() => disk.delays.delete(id)),
    }
    this.ledger = {
      put: (record) => join(() => disk.losses.set(record.number, record)),
      remove: (number) => join(() => disk.losses.delete(number)),
    }
  }

  get lastTicket(): Ticket {
    return this.durableTicket + (this.#changes.length > 0 ? 1 : 0)
  }

  follow(): Ticket {
    return 0
  }

  unfollow(): void {
    // Everything that is published comes through this process.
  }

  bind(owner: StoreOwner): void {
    this.#owner = owner
  }

  async load(loader: StoreLoader): Promise<void> {
    const { epoch, inboxes, retained, marks, losses, delays } = this.#disk
    loader.onEpoch(must(epoch, 'epoch of the log'))
    for (const record of this.#disk.loadSessions()) loader.onSession(record)
    for (const [clientId, packetIds] of inboxes) for (const packetId of packetIds) loader.onInbox(clientId, packetId)
    for (const publish of retained.values()) loader.onRetained(publish)
    for (const [key, mark] of marks) loader.onMark(key, mark)
    for (const record of [...losses.values()].sort((a, b) => a.number - b.number)) loader.onLoss(record)
    for (const record of delays.values()) loader.onDelay(record)
  }

  async close(): Promise<void> {
    this.#isClosing = true
    this.#commit()
    this.#isClosed = true
  }

  #join(change: () => void): void {
    assert(!this.#isClosed, 'a write to a closed store')
    if (this.#changes.push(change) === 1) this.#clock.afterTurn(() => this.#commit())
  }

  #commit(): void {
    if (this.#changes.length === 0) return
    if (!this.#isClosing) this.#owner?.beforeCommit?.()
    const changes = this.#changes
    this.#changes = []
    for (const change of changes) change()
    this.durableTicket++
    must(this.#owner, 'owner of the store').onDurable(this.durableTicket)
  }
}
