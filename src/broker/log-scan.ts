/** Reading on in the log without sending: one range after the other, whether the answers come at once or later. */
import type { Failure } from '../lib/errors.ts'
import type { MessageLog, ReadLimit, Seq, StoredMessage } from '../ports/store.ts'

/**
 * @param take answers where to read on; undefined = enough. `askedUpTo` is where the log ended when it was asked: an
 * empty answer means that nothing is left up to there
 */
export function scanLog(
  messages: MessageLog,
  from: Seq,
  limit: ReadLimit,
  take: (stored: readonly StoredMessage[], askedUpTo: Seq) => Seq | undefined,
  onFailure: (failure: Failure) => void,
): void {
  let next: Seq | undefined = from
  let isInside = false
  const run = (): void => {
    while (next !== undefined) {
      let isAnswered = false
      const askedUpTo = messages.durableSeq
      isInside = true
      messages.read(next, limit, (stored, failure) => {
        isAnswered = true
        next = failure === undefined ? take(stored, askedUpTo) : undefined
        if (failure !== undefined) onFailure(failure)
        if (!isInside) run()
      })
      isInside = false
      if (!isAnswered) return
    }
  }
  run()
}
