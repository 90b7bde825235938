/** What of a store is not the log: each write joins the batch that is open, and says how safe it is to be. */
import type { DelayStore } from '../../ports/delays.ts'
import type { LedgerStore } from '../../ports/ledger.ts'
import type { SoleClaims } from '../../ports/sole-claims.ts'
import type { MarkStore, Qos2Inbox, RetainedStore, SessionStore } from '../../ports/store.ts'
import type { Join } from './batch.ts'

export interface RecordStores {
  readonly sessions: SessionStore
  readonly inbox: Qos2Inbox
  readonly retained: RetainedStore
  readonly marks: MarkStore
  readonly delays: DelayStore
  readonly ledger: LedgerStore
}

export function recordStores(join: Join, claims: SoleClaims): RecordStores {
  return {
    sessions: sessionStore(join, claims),
    inbox: {
      put: (clientId, packetId) => join().putInbox(clientId, packetId),
      release: (clientId, packetId) => join().releaseInbox(clientId, packetId),
      clear: (clientId) => join().clearInbox(clientId),
    },
    retained: {
      set: (publish, durability) => join(durability).setRetained(publish.own()),
      clear: (topic, durability) => join(durability).clearRetained(topic),
    },
    marks: {
      set: (key, mark, durability, isUrgent) => join(durability, isUrgent ? 'now' : 'none').setMark(key, mark),
    },
    delays: {
      put: (record) => {
        record.message.own()
        join().putDelay(record)
      },
      remove: (id) => join().removeDelay(id),
    },
    ledger: {
      put: (record) => join('ram').putLoss(record),
      remove: (number) => join('ram').removeLoss(number),
    },
  }
}

function sessionStore(join: Join, claims: SoleClaims): SessionStore {
  return {
    claim: (clientId, answer) => answer({ kind: 'ours', epoch: claims.claim(clientId), record: undefined }),
    release: (clientId, epoch) => claims.release(clientId, epoch),
    save: (record) => {
      const batch = join(undefined, 'soon')
      if (claims.save(record.clientId, record.epoch)) batch.saveSession(record)
    },
    saveCursor: (clientId, cursor) => {
      const batch = join('ram')
      if (claims.isSaved(clientId)) batch.saveCursor(clientId, cursor)
    },
    saveOutbound: (clientId, outbound) => {
      const batch = join()
      if (claims.isSaved(clientId)) batch.saveOutbound(clientId, outbound)
    },
    remove: (clientId) => {
      claims.remove(clientId)
      join().removeSession(clientId)
    },
  }
}
