/**
 * What the broker says it dropped on purpose of what a subscriber was to get: the retained summary that a gateway of
 * Tidegate keeps on `$edge/loss`. Other brokers have none, and then nothing was dropped on purpose.
 */
export const lossTopic = '$edge/loss'

/** Drops that hit whoever wanted the message, and those of several sessions put together. */
const sharedScopes = ['$log', '$several']

export class BrokerLedger {
  /** Messages, by why they were dropped. */
  readonly countByReason = new Map<string, number>()
  readonly #clientId: string
  /** Counts that stood there before the run, by number of the record. */
  #before: ReadonlyMap<number, number> | undefined

  constructor(clientId: string) {
    this.#clientId = clientId
  }

  get droppedCount(): number {
    return [...this.countByReason.values()].reduce((sum, count) => sum + count, 0)
  }

  /** @param isRetained it stood there when the subscriber came */
  read(payload: Buffer, isRetained: boolean): void {
    const records = recordsIn(payload)
    if (this.#before === undefined && isRetained) this.#before = new Map(records.map((one) => [one.number, one.count]))
    this.countByReason.clear()
    for (const { number, scope, reason, count } of records) {
      if (scope !== this.#clientId && !sharedScopes.includes(scope)) continue
      const since = count - (this.#before?.get(number) ?? 0)
      if (since > 0) this.countByReason.set(reason, (this.countByReason.get(reason) ?? 0) + since)
    }
  }
}

interface LedgerRecord {
  readonly number: number
  readonly scope: string
  readonly reason: string
  readonly count: number
}

function recordsIn(payload: Buffer): LedgerRecord[] {
  const { records = [] } = JSON.parse(payload.toString()) as { records?: Partial<LedgerRecord>[] }
  return records.map(({ number = 0, scope = '', reason = '', count = 0 }) => ({ number, scope, reason, count }))
}
