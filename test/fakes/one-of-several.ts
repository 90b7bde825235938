/**
 * A store that several brokers write to, as one of them sees it, in front of a real one: a claim waits until the test
 * lets it go on, and a subscription reaches what is published elsewhere with the next group commit.
 */
import { Failure } from '../../src/lib/errors.ts'
import type { SessionRecord, SessionStore, Store, Ticket } from '../../src/ports/store.ts'
import { overlaid } from './overlaid.ts'

export type HeldClaim = {
  readonly clientId: string
  /** @param record what another broker hands over */
  readonly grant: (record?: SessionRecord) => void
  readonly refuse: () => void
}

export class OneOfSeveral {
  readonly store: Store
  /** Claims that wait, the oldest first. */
  readonly claims: HeldClaim[] = []
  /** By topic filter: how often it is followed. */
  readonly followed = new Map<string, number>()
  readonly released: string[] = []

  constructor(store: Store) {
    const { sessions } = store
    const held: SessionStore = {
      claim: (clientId, answer) =>
        sessions.claim(clientId, (claim) => {
          this.claims.push({
            clientId,
            grant: (record) =>
              answer(
                claim.kind !== 'ours' || record === undefined ? claim : { ...claim, epoch: record.epoch + 1, record },
              ),
            refuse: () => answer({ kind: 'unavailable', failure: new Failure('ERR_STORE_READ', 'no quorum') }),
          })
        }),
      release: (clientId, epoch) => {
        this.released.push(clientId)
        sessions.release(clientId, epoch)
      },
      save: (record) => sessions.save(record),
      saveCursor: (clientId, cursor) => sessions.saveCursor(clientId, cursor),
      saveOutbound: (clientId, outbound) => sessions.saveOutbound(clientId, outbound),
      remove: (clientId) => sessions.remove(clientId),
    }
    const ours = {
      sessions: held,
      follow: (topicFilter: string): Ticket => {
        this.followed.set(topicFilter, (this.followed.get(topicFilter) ?? 0) + 1)
        store.inbox.release('nobody', 1)
        return store.lastTicket
      },
      unfollow: (topicFilter: string): void => {
        const count = (this.followed.get(topicFilter) ?? 0) - 1
        if (count === 0) this.followed.delete(topicFilter)
        else this.followed.set(topicFilter, count)
      },
    }
    this.store = overlaid(store, ours)
  }
}
