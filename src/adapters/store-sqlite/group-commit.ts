/**
 * When the batches of writes go to the file. One commit is under way at a time; what is written meanwhile collects in
 * the next batch, so the slower the disk, the larger the commits.
 *
 *   idle --join--> gathering --interval over, or large; end of turn--> writing --holds--> gathering or idle
 *                                                              writing <--1 s--> outage
 *
 * In an outage the same batch is written again until it holds; later writes wait behind it.
 */
import { assert, must } from '../../lib/assert.ts'
import { Failure } from '../../lib/errors.ts'
import type { Clock } from '../../ports/clock.ts'
import type { StoreOwner, Ticket } from '../../ports/store.ts'
import { Batch } from './batch.ts'
import type { SqliteError } from './connection.ts'

/** From here on a batch no longer waits for the interval. */
const enoughBytes = 256 * 1024

const retryMs = 1000

export interface GroupCommitOptions {
  /** For failures. */
  readonly path: string
  /** How long a batch may wait at present that nobody is in a hurry for. */
  readonly patienceMs: () => number
  readonly clock: Clock
  /** Comes before each write: puts a file that is damaged or gone in order, if that can be done. */
  readonly mend: () => Promise<void>
  /** Makes `batch` durable, or changes nothing and answers why. */
  readonly write: (batch: Batch) => Promise<SqliteError | undefined>
  /** Frees some space without writing anything new; answers whether it did. */
  readonly makeRoom: () => Promise<boolean>
}

export class GroupCommit {
  durableTicket: Ticket = 0
  isWritable = true
  owner: StoreOwner | undefined
  readonly #options: GroupCommitOptions
  #open = new Batch(1)
  /** When the first write joined `#open`; undefined while it has none. */
  #joinedAtMs: number | undefined
  #running: Promise<void> | undefined
  #isGathering = false
  /** Ends the wait that the loop is in. */
  #hurry: (() => void) | undefined
  #isClosing = false
  /** Why the last batch was given up, at the end only. */
  #failure: Failure | undefined

  constructor(options: GroupCommitOptions) {
    this.#options = options
  }

  /** The batch that the last write joined. */
  get lastTicket(): Ticket {
    return this.#joinedAtMs === undefined ? this.#open.ticket - 1 : this.#open.ticket
  }

  /** The batch that a write made now belongs to. @param waitMsMax it is not to wait longer; 0 = until the end of the turn */
  join(waitMsMax = Number.POSITIVE_INFINITY): Batch {
    assert(!this.#isClosing, 'a write to a closed store')
    if (this.#joinedAtMs === undefined) {
      this.#joinedAtMs = this.#options.clock.nowMs()
      this.#open.startedAtMs = this.#joinedAtMs
    }
    const isHurried = waitMsMax < this.#open.waitMsMax
    if (isHurried) this.#open.waitMsMax = waitMsMax
    if (this.#running === undefined) this.#running = this.#run()
    else if (this.#isGathering && (isHurried || this.#open.byteCount >= enoughBytes)) this.#hurry?.()
    return this.#open
  }

  /** Makes everything that was written durable. Rejects with a Failure when the store cannot be written. */
  async close(): Promise<void> {
    this.#isClosing = true
    this.#hurry?.()
    await this.#running
    if (this.#failure !== undefined) throw this.#failure
  }

  async #run(): Promise<void> {
    // What else this turn writes goes along.
    if (!this.#isClosing) await this.#turn()
    while (this.#joinedAtMs !== undefined) {
      await this.#gather(this.#joinedAtMs)
      if (!this.#isClosing) this.#owner.beforeCommit?.()
      const batch = this.#open
      this.#open = new Batch(batch.ticket + 1)
      this.#joinedAtMs = undefined
      if (!(await this.#hold(batch))) break
      this.durableTicket = batch.ticket
      this.#owner.onDurable(batch.ticket)
      // Writing out the next batch takes as long as what was just told: not both in one turn.
      if (!this.#isClosing) await this.#turn()
    }
    this.#running = undefined
  }

  async #gather(joinedAtMs: number): Promise<void> {
    const { clock, patienceMs } = this.#options
    this.#isGathering = true
    while (!this.#isClosing && this.#open.byteCount < enoughBytes) {
      const waitMs = joinedAtMs + Math.min(this.#open.waitMsMax, patienceMs()) - clock.nowMs()
      if (waitMs <= 0) break
      await this.#wait(waitMs)
    }
    this.#isGathering = false
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#options.clock.afterTurn(resolve))
  }

  /** Writes `batch` until it holds. false when that cannot be waited for. */
  async #hold(batch: Batch): Promise<boolean> {
    await this.#options.mend()
    let error = await this.#options.write(batch)
    while (error !== undefined) {
      const failure = this.#fail(error)
      if (this.#isClosing) {
        this.#failure = failure
        return false
      }
      await this.#wait(retryMs)
      await this.#options.mend()
      while (!this.#isClosing && (await this.#options.makeRoom()));
      error = await this.#options.write(batch)
    }
    if (!this.isWritable) {
      this.isWritable = true
      this.#owner.onRecovered()
    }
    return true
  }

  #fail(error: SqliteError): Failure {
    const code = error.code === 'SQLITE_FULL' ? 'ERR_STORE_FULL' : 'ERR_STORE_WRITE'
    const failure = new Failure(code, `${this.#options.path}: ${error.message}`, error)
    if (this.isWritable) {
      this.isWritable = false
      this.#owner.onFailure(failure)
    }
    return failure
  }

  /** Ends early when somebody hurries. */
  #wait(delayMs: number): Promise<void> {
    if (this.#isClosing) return Promise.resolve()
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel()
        this.#hurry = undefined
        resolve()
      }
      const timer = this.#options.clock.after(delayMs, end)
      this.#hurry = end
    })
  }

  get #owner(): StoreOwner {
    return must(this.owner, 'owner of the store')
  }
}
