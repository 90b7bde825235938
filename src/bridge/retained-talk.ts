/**
 * What a bridge and the Tidegate above it say to each other about retained messages, as JSON, QoS 0. The lower one
 * asks, one question at a time; the upper one answers with the number of the question.
 *
 *   compare  are my digests of these topics yours?     digests of each bucket, or none when all are the same
 *   list     what do you have in these buckets?        topic, digest (null = deleted) and time of each, in parts
 *   get      send me these                             the messages themselves, then an end
 */
import { bucketCountMax } from '../protocol/retained-digest.ts'

export type RetainedQuestion =
  | {
      readonly ask: 'compare'
      readonly id: number
      readonly filters: readonly string[]
      readonly bucketCount: number
      /** Of all topics. */
      readonly digest: string
    }
  | {
      readonly ask: 'list'
      readonly id: number
      readonly filters: readonly string[]
      readonly bucketCount: number
      readonly buckets: readonly number[]
    }
  | { readonly ask: 'get'; readonly id: number; readonly topics: readonly string[] }

/** A topic of the upper broker, with the time on its timeline. */
export type ListedTopic = readonly [topic: string, digest: string | null, changedAtMs: number]

export interface RetainedAnswer {
  readonly id: number
  /** To `compare`: BucketDigests as text; empty = the same. */
  readonly digests?: string
  /** To `list`. */
  readonly topics?: readonly ListedTopic[]
  /** To `list` and `get`: nothing follows. */
  readonly isEnd?: boolean
}

/** undefined when `payload` asks nothing that can be meant. */
export function parseQuestion(payload: string): RetainedQuestion | undefined {
  const said = parseRecord(payload)
  if (said === undefined || !Number.isInteger(said['id'])) return undefined
  const { ask, filters, bucketCount, digest, buckets, topics } = said
  if (ask === 'get') return isTexts(topics) ? (said as RetainedQuestion) : undefined
  if (!isTexts(filters) || !isBucketCount(bucketCount)) return undefined
  if (ask === 'compare') return typeof digest === 'string' ? (said as RetainedQuestion) : undefined
  if (ask === 'list') return Array.isArray(buckets) ? (said as RetainedQuestion) : undefined
  return undefined
}

/** undefined when `payload` answers nothing. */
export function parseAnswer(payload: string): RetainedAnswer | undefined {
  const said = parseRecord(payload)
  return said !== undefined && Number.isInteger(said['id']) ? (said as unknown as RetainedAnswer) : undefined
}

function parseRecord(text: string): Record<string, unknown> | undefined {
  try {
    const said: unknown = JSON.parse(text)
    return typeof said === 'object' && said !== null ? (said as Record<string, unknown>) : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((text) => typeof text === 'string')
}

function isBucketCount(value: unknown): value is number {
  return typeof value === 'number' && value >= 1 && value <= bucketCountMax && Number.isInteger(Math.log2(value))
}
