/**
 * What group commits cost a flash card, and how long one may gather for that. The budget goes by it while the broker
 * runs (adapters/store-sqlite/flash-budget.ts), the doctor tells it beforehand (cli/doctor/promises.ts).
 */

const dayMs = 86_400_000

/** Each byte of a message is written to the write-ahead log, and once more to the file; rows are somewhat larger. */
const writesEach = 2.5

/** What a commit writes beside its messages: the ends of the two places that it touches in the files. */
const commitBytes = 8192

/** A commit's own cost, as a multiple of that of its messages, which is borne where the budget cannot be kept. */
const ownShareMax = 2

/**
 * The longest that a commit is to gather. Where the messages alone are more than the budget allows, no wait can keep
 * it: a commit waits only until its own cost is small beside that of its messages then.
 *
 * @param messageBytesPerMs appended to the log
 */
export function longestWaitMs(messageBytesPerMs: number, bytesPerDay: number, waitMsMax: number): number {
  const writtenPerMs = messageBytesPerMs * writesEach
  const isHopeless = writtenPerMs * dayMs > bytesPerDay
  return isHopeless ? Math.min(waitMsMax, commitBytes / ownShareMax / writtenPerMs) : waitMsMax
}
