/** Retained messages as others than their subscribers see them: with the time at which they were set. */
import type { Publish } from '../protocol/packets/publish.ts'

export interface RetainedTopic {
  readonly topic: string
  /** Shared: nobody changes it. undefined = it was deleted. */
  readonly message: Publish | undefined
  /** When it was set or deleted, wherever that was, on the timeline of this broker; 0 = not known, long ago. */
  readonly changedAtMs: number
}
