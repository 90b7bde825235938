/** Answers what a gateway asks about retained messages (retained-talk.ts), on one connection. A new question ends the one before. */
import type { Clock, Timer } from '../ports/clock.ts'
import { type PeerLink, retainedTalk } from '../ports/peer.ts'
import type { RetainedTopic } from '../ports/retained.ts'
import { BucketDigests, bucketOf, digestOf, digestText } from '../protocol/retained-digest.ts'
import { topicMatches } from '../protocol/topic.ts'
import { type ListedTopic, parseQuestion, type RetainedAnswer, type RetainedQuestion } from './retained-talk.ts'
import { SlicedWalk } from './sliced-walk.ts'

/** Characters of topics in one part of a list: far below any packet limit that lets messages through. */
const partLengthMax = 16_000

/** While the line is full. */
const retryMs = 100

export class RetainedAnswerer {
  readonly #clock: Clock
  readonly #peer: PeerLink
  #walk: SlicedWalk<RetainedTopic> | undefined
  #retry: Timer | undefined

  constructor(clock: Clock, peer: PeerLink) {
    this.#clock = clock
    this.#peer = peer
  }

  /** @param payload of a message to `retainedTalk.question` */
  ask(payload: string): void {
    this.close()
    const question = parseQuestion(payload)
    if (question?.ask === 'compare') this.#compare(question)
    else if (question?.ask === 'list') this.#list(question)
    else if (question?.ask === 'get') this.#get(question.id, question.topics)
  }

  close(): void {
    this.#walk?.cancel()
    this.#retry?.cancel()
  }

  #compare({ id, filters, bucketCount, digest }: RetainedQuestion & { ask: 'compare' }): void {
    const digests = new BucketDigests(bucketCount)
    this.#walk = new SlicedWalk(
      this.#clock,
      this.#matching(filters),
      ({ topic, message }) => {
        if (message !== undefined) digests.add(topic, digestOf(topic, message))
      },
      () => this.#answer({ id, digests: digests.foldedTo(1).toText() === digest ? '' : digests.toText() }),
    )
  }

  #list({ id, filters, bucketCount, buckets }: RetainedQuestion & { ask: 'list' }): void {
    const wanted = new Set(buckets)
    let part: ListedTopic[] = []
    let partLength = 0
    const onFound = ({ topic, message, changedAtMs }: RetainedTopic): void => {
      if (!wanted.has(bucketOf(topic, bucketCount))) return
      const digest = message === undefined ? null : digestText(digestOf(topic, message))
      part.push([topic, digest, Math.round(changedAtMs)])
      partLength += topic.length + 50
      if (partLength < partLengthMax) return
      this.#answer({ id, topics: part })
      part = []
      partLength = 0
    }
    this.#walk = new SlicedWalk(this.#clock, this.#matching(filters), onFound, () =>
      this.#answer({ id, topics: part, isEnd: true }),
    )
  }

  #get(id: number, topics: readonly string[]): void {
    for (const [index, topic] of topics.entries()) {
      if (!this.#peer.canTake) {
        this.#retry = this.#clock.after(retryMs, () => this.#get(id, topics.slice(index)))
        return
      }
      this.#peer.sendRetained(topic)
    }
    this.#answer({ id, isEnd: true })
  }

  #answer(answer: RetainedAnswer): void {
    this.#peer.tell(retainedTalk.answer, JSON.stringify(answer))
  }

  /** Each topic once, however many filters it matches. */
  *#matching(filters: readonly string[]): Generator<RetainedTopic | undefined> {
    for (const [index, filter] of filters.entries()) {
      const earlier = filters.slice(0, index)
      for (const found of this.#peer.retained(filter)) {
        const isKnown = found !== undefined && earlier.some((other) => topicMatches(other, found.topic))
        yield isKnown ? undefined : found
      }
    }
  }
}
