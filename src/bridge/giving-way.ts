/**
 * How a drain gives way to commands: when one comes, what is not urgent waits until it has crossed, because its commit, its
 * way and the other side need what a drain would use. Not for long, or a long line would stand empty; and then the drain
 * has its share, whatever comes.
 */
import type { Seq } from '../ports/store.ts'

/** `seq` is the command that the drain gave way to last, `sinceMs` when it began to. */
export type GivingWay =
  | { readonly is: 'free'; readonly seq: Seq; readonly sinceMs: number }
  | { readonly is: 'waiting'; readonly seq: Seq; readonly sinceMs: number }
  | { readonly is: 'going on'; readonly seq: Seq; readonly sinceMs: number; readonly untilMs: number }

export const neverGaveWay: GivingWay = { is: 'free', seq: 0, sinceMs: Number.NEGATIVE_INFINITY }

/** How long a drain waits at most, and how long it goes on at least before it does so again. */
export const waitMsMax = 16
export const goOnMs = 4
/** For so long after a command the next one is expected. */
export const expectMs = 1000

/** @param awaitedSeq a command that has not crossed yet, the newest one; undefined when all have */
export function stepOf(state: GivingWay, nowMs: number, awaitedSeq: Seq | undefined): GivingWay {
  const { is, seq, sinceMs } = state
  if (is === 'waiting') {
    if (awaitedSeq !== undefined && nowMs < sinceMs + waitMsMax) return state
    return { is: 'going on', seq, sinceMs, untilMs: nowMs + goOnMs }
  }
  if (is === 'going on' && nowMs < state.untilMs) return state
  if (awaitedSeq !== undefined && awaitedSeq > seq) return { is: 'waiting', seq: awaitedSeq, sinceMs: nowMs }
  return is === 'free' ? state : { is: 'free', seq, sinceMs }
}

/** Until the drain may send again, unless the command has crossed before. */
export function waitMsOf({ is, sinceMs }: GivingWay, nowMs: number): number {
  return is === 'waiting' ? sinceMs + waitMsMax - nowMs : 0
}

/** Commands come rather together than alone. */
export function expectsCommands({ sinceMs }: GivingWay, nowMs: number): boolean {
  return nowMs < sinceMs + expectMs
}
