/**
 * How far each session has come, as it is stored: after so long in a commit of its own if need be. Before that those that
 * moved so far join a commit that is written anyway, one for each so many messages: what a client gets twice after a
 * crash is little more than what came since the last commit, and a message costs the disk a page of sessions now and then
 * instead of always.
 */
import type { Clock } from '../ports/clock.ts'
import { lanes } from '../ports/lane.ts'
import type { Seq, Store } from '../ports/store.ts'
import type { Delivery } from './deliver.ts'
import type { Session } from './session.ts'

const cursorMs = 10_000
const cursorSeqs = 100
const cursorsPerCommitMax = 64

/** So many sessions are looked at for that. */
const looksPerCommitMax = 256

export class Cursors {
  readonly #sessions: ReadonlyMap<string, Session>
  readonly #store: Store
  readonly #delivery: Delivery
  readonly #clock: Clock
  #dueMs = 0
  /** Messages served up to here have had cursors stored for them. */
  #joinedSeq: Seq = 0
  /** Whose cursor is looked at next. */
  #turn: Iterator<Session> | undefined

  constructor(sessions: ReadonlyMap<string, Session>, store: Store, delivery: Delivery, clock: Clock) {
    this.#sessions = sessions
    this.#store = store
    this.#delivery = delivery
    this.#clock = clock
  }

  /** Stores, when that is due, how far each session came; answers by lane the seq up to which nobody needs the log. */
  save(): Seq[] {
    const routedSeq = this.#delivery.routedSeq
    const nowMs = this.#clock.nowMs()
    const isDue = nowMs >= this.#dueMs
    if (isDue) this.#dueMs = nowMs + cursorMs
    const unneeded = lanes.map(() => routedSeq)
    for (const session of this.#sessions.values()) {
      if (!session.isDurable) continue
      const cursor = session.cursor(routedSeq)
      if (isDue && cursor !== session.savedCursor) this.#save(session, cursor)
      for (const lane of session.lane === undefined ? lanes : [session.lane]) {
        unneeded[lane] = Math.min(unneeded[lane] as Seq, cursor)
      }
    }
    return unneeded
  }

  /** A commit is about to be written: some of the cursors that moved far join it. */
  joinCommit(): void {
    const routedSeq = this.#delivery.routedSeq
    let count = Math.min(cursorsPerCommitMax, Math.floor((routedSeq - this.#joinedSeq) / cursorSeqs))
    if (count <= 0) return
    this.#joinedSeq = routedSeq
    const looks = Math.min(looksPerCommitMax, this.#sessions.size)
    for (let i = 0; i < looks && count > 0; i++) {
      const session = this.#next()
      if (session === undefined || !session.isDurable) continue
      const cursor = session.cursor(routedSeq)
      if (cursor - session.savedCursor < cursorSeqs) continue
      this.#save(session, cursor)
      count--
    }
  }

  #save(session: Session, cursor: Seq): void {
    session.savedCursor = cursor
    this.#store.sessions.saveCursor(session.clientId, cursor)
  }

  #next(): Session | undefined {
    this.#turn ??= this.#sessions.values()
    const { value, done } = this.#turn.next()
    if (done !== true) return value
    this.#turn = undefined
    return this.#sessions.size === 0 ? undefined : this.#next()
  }
}
