/**
 * What is missing of one gateway, as the broker above knows it: what the gateway dropped on purpose and told, by
 * reason, and what nobody explains. Published and kept as JSON.
 */
import type { Gap } from './receiver.ts'

const rangeCountMax = 20

export interface MissingRange {
  readonly lane: number
  readonly firstSeq: number
  readonly lastSeq: number
  readonly since: string
}

export interface LossReport {
  /** Messages by reason. */
  readonly explained: Readonly<Record<string, number>>
  readonly unexplained: {
    /** Gaps, not messages: nobody knows how many those were. */
    readonly count: number
    /** The latest. */
    readonly ranges: readonly MissingRange[]
  }
}

export const noLoss: LossReport = { explained: {}, unexplained: { count: 0, ranges: [] } }

/** @param since UTC */
export function withGap(report: LossReport, gap: Gap, since: string): LossReport {
  const explained: Record<string, number> = { ...report.explained }
  for (const { reason, count } of gap.skips) explained[reason] = (explained[reason] ?? 0) + count
  if (!gap.isUnexplained) return { ...report, explained }
  const { count, ranges } = report.unexplained
  const { lane, firstSeq, lastSeq } = gap
  const range = { lane, firstSeq, lastSeq, since }
  return { explained, unexplained: { count: count + 1, ranges: [...ranges, range].slice(-rangeCountMax) } }
}
