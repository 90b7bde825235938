/** The connection of a gateway, as the end above it sees it. Topics are called as the gateway calls them. */
import type { RetainedTopic } from './retained.ts'

export interface PeerLink {
  /** There is room for more on the line. */
  readonly canTake: boolean
  /**
   * The retained topics that `topicFilter` matches, as far as the peer may read them, those that were deleted too; with
   * undefined for each step that came upon none, so that the caller may pause.
   */
  retained(topicFilter: string): Generator<RetainedTopic | undefined>
  /** What is retained for `topic` goes out, if there is something and the peer may read it. */
  sendRetained(topic: string): void
  /** Something about the bridge itself, QoS 0. @param topic below `$bridge/` */
  tell(topic: string, payload: string): void
}

/** What is on the topics that are about retained messages: questions come up below `question`, answers go down. */
export const retainedTalk = { question: '$bridge/retained/', answer: '$bridge/retained' } as const
