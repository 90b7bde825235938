/**
 * Brings the retained messages of a gateway and of the Tidegate above it together after they were apart: by digests, so
 * that only what differs travels, and topics that were deleted on one side while the other was away go as well. Of two
 * that differ the one that was changed last stays, as far as the rules let it cross. It begins when the backlog of a
 * new connection is through; what the log brings needs no help.
 *
 *   idle -> counting -> comparing -> listing -> deciding -> moving --next buckets--> listing
 *     ^                     |                                  |
 *     +----- the same ------+------------ nothing left --------+
 */
import type { Clock, Timer } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
import type { RetainedTopic } from '../ports/retained.ts'
import {
  BucketDigests,
  bucketCountFor,
  bucketCountMax,
  bucketOf,
  digestOf,
  digestText,
} from '../protocol/retained-digest.ts'
import { topicMatches } from '../protocol/topic.ts'
import type { PairedTopic, RetainedPairs } from './retained-pairs.ts'
import { type ListedTopic, parseAnswer, type RetainedQuestion } from './retained-talk.ts'
import { SlicedWalk } from './sliced-walk.ts'

/** The bridge, as the sync needs it. */
export interface SyncedBridge {
  /** The line takes more. */
  readonly canTake: boolean
  /** Retained topics of this broker, with undefined for steps that came upon none. */
  retained(topicFilter: string): Generator<RetainedTopic | undefined>
  ask(question: RetainedQuestion): void
  /** What is retained here goes up now; a topic that is not retained any more is deleted there. */
  sendRetained(topic: PairedTopic, changedAtMs: number): void
  /** @param changedAtMs on the timeline of this broker */
  deleteHere(topic: PairedTopic, changedAtMs: number): void
}

/** More topics than this are not compared. */
export const topicCountMax = 100_000

/** Packets in each direction per step, and steps so far apart: live messages are not held up. */
const packetsPerStep = 50
const stepMs = 100

/** Topics of differing buckets that are looked at together. */
const listedTopicsMax = 2000

/** An answer that takes longer was lost. The next connection tries again. */
const answerMsMax = 60_000

type Listed = Map<string, readonly [digest: string | null, changedAtMs: number]>

/** What is to be done about one topic. */
type Move =
  | { readonly kind: 'send' | 'delete'; readonly topic: PairedTopic; readonly changedAtMs: number }
  | { readonly kind: 'get'; readonly topic: PairedTopic }

type State =
  | { readonly at: 'idle' }
  | { readonly at: 'counting' | 'deciding'; readonly walk: SlicedWalk<RetainedTopic> }
  | { readonly at: 'comparing'; readonly digests: BucketDigests }
  | { readonly at: 'listing'; readonly buckets: readonly number[]; readonly listed: Listed }
  | { readonly at: 'moving'; readonly moves: Move[]; askedAtMs: number | undefined }

export class RetainedSync {
  /** Topics that went up, came down, or were deleted here. */
  sentCount = 0
  receivedCount = 0
  readonly #clock: Clock
  readonly #log: Log
  readonly #bridge: SyncedBridge
  #state: State = { at: 'idle' }
  #pairs: RetainedPairs | undefined
  /** How far the timeline of the upper broker is ahead of ours. */
  #aheadMs = 0
  #bucketCount = bucketCountMax
  #topicCount = 0
  /** Buckets that differ and were not looked at. */
  #left: number[] = []
  #movedCount = 0
  #questionId = 0
  #timer: Timer | undefined

  constructor(clock: Clock, log: Log, bridge: SyncedBridge) {
    this.#clock = clock
    this.#log = log
    this.#bridge = bridge
  }

  get isIdle(): boolean {
    return this.#state.at === 'idle'
  }

  /** @param aheadMs how far the timeline of the upper broker is ahead of ours */
  begin(pairs: RetainedPairs, aheadMs: number): void {
    this.cancel()
    this.#pairs = pairs
    this.#aheadMs = aheadMs
    this.#movedCount = 0
    const digests = new BucketDigests(bucketCountMax)
    const walk = new SlicedWalk(
      this.#clock,
      this.#here(),
      ({ topic, message }) => {
        const there = this.#pairs?.ofHere(topic)?.there
        if (message !== undefined && there !== undefined) digests.add(there, digestOf(there, message))
        if (digests.topicCount > topicCountMax) this.#giveUp('more retained topics than can be compared')
      },
      () => this.#compare(digests),
    )
    this.#state = { at: 'counting', walk }
  }

  /** The line is gone. */
  cancel(): void {
    if (this.#state.at === 'counting' || this.#state.at === 'deciding') this.#state.walk.cancel()
    this.#timer?.cancel()
    this.#left = []
    this.#state = { at: 'idle' }
  }

  /** @param payload of a message to `retainedTalk.answer` */
  onAnswer(payload: string): void {
    const answer = parseAnswer(payload)
    const state = this.#state
    if (answer === undefined || answer.id !== this.#questionId) return
    if (state.at === 'comparing' && answer.digests !== undefined) {
      this.#left = state.digests.differing(answer.digests) ?? []
      this.#goOn()
    } else if (state.at === 'listing' && answer.topics !== undefined) {
      this.#waitForAnswer()
      for (const [topic, digest, changedAtMs] of answer.topics as readonly ListedTopic[]) {
        state.listed.set(topic, [digest, changedAtMs === 0 ? 0 : changedAtMs - this.#aheadMs])
      }
      if (answer.isEnd === true) this.#decide(state.buckets, state.listed)
    } else if (state.at === 'moving' && answer.isEnd === true) {
      state.askedAtMs = undefined
    }
  }

  #compare(digests: BucketDigests): void {
    this.#topicCount = digests.topicCount
    this.#bucketCount = bucketCountFor(digests.topicCount)
    const folded = digests.foldedTo(this.#bucketCount)
    this.#state = { at: 'comparing', digests: folded }
    const digest = digests.foldedTo(1).toText()
    this.#ask({ ask: 'compare', ...this.#scope(), digest })
  }

  #scope(): { id: number; filters: readonly string[]; bucketCount: number } {
    return { id: ++this.#questionId, filters: this.#pairs?.filtersThere ?? [], bucketCount: this.#bucketCount }
  }

  /** To the next buckets that differ, or to the end. */
  #goOn(): void {
    const perBucket = Math.max(1, this.#topicCount / this.#bucketCount)
    const buckets = this.#left.splice(0, Math.max(1, Math.floor(listedTopicsMax / perBucket)))
    if (buckets.length === 0) {
      this.#log.info({ count: this.#movedCount }, 'retained messages are the same on both sides')
      this.cancel()
      return
    }
    this.#state = { at: 'listing', buckets, listed: new Map() }
    this.#ask({ ask: 'list', ...this.#scope(), buckets })
  }

  #decide(buckets: readonly number[], listed: Listed): void {
    this.#timer?.cancel()
    const wanted = new Set(buckets)
    const moves: Move[] = []
    const onFound = ({ topic, message, changedAtMs }: RetainedTopic): void => {
      const pair = this.#pairs?.ofHere(topic)
      if (pair === undefined || !wanted.has(bucketOf(pair.there, this.#bucketCount))) return
      const digest = message === undefined ? null : digestText(digestOf(pair.there, message))
      const move = moveFor(pair, { digest, changedAtMs }, listed.get(pair.there))
      listed.delete(pair.there)
      if (move !== undefined) moves.push(move)
    }
    const walk = new SlicedWalk(this.#clock, this.#here(), onFound, () => {
      for (const [there, [digest]] of listed) {
        const topic = this.#pairs?.ofThere(there)
        if (digest !== null && topic?.comesIn === true) moves.push({ kind: 'get', topic })
      }
      this.#state = { at: 'moving', moves, askedAtMs: undefined }
      this.#move()
    })
    this.#state = { at: 'deciding', walk }
  }

  #move(): void {
    const state = this.#state
    if (state.at !== 'moving') return
    const gets: string[] = []
    for (let left = packetsPerStep; left > 0 && this.#bridge.canTake; left--) {
      const move = state.moves.at(-1)
      if (move === undefined || (move.kind === 'get' && state.askedAtMs !== undefined)) break
      state.moves.pop()
      this.#movedCount++
      if (move.kind === 'send') {
        this.#bridge.sendRetained(move.topic, move.changedAtMs)
        this.sentCount++
      } else {
        if (move.kind === 'delete') this.#bridge.deleteHere(move.topic, move.changedAtMs)
        else gets.push(move.topic.there)
        this.receivedCount++
      }
    }
    if (gets.length > 0) {
      state.askedAtMs = this.#clock.nowMs()
      this.#bridge.ask({ ask: 'get', id: ++this.#questionId, topics: gets })
    }
    const waitedMs = this.#clock.nowMs() - (state.askedAtMs ?? this.#clock.nowMs())
    if (waitedMs > answerMsMax) this.#giveUp('no answer about retained messages')
    else if (state.moves.length === 0 && state.askedAtMs === undefined) this.#goOn()
    else this.#timer = this.#clock.after(stepMs, () => this.#move())
  }

  #ask(question: RetainedQuestion): void {
    this.#bridge.ask(question)
    this.#waitForAnswer()
  }

  #waitForAnswer(): void {
    this.#timer?.cancel()
    this.#timer = this.#clock.after(answerMsMax, () => this.#giveUp('no answer about retained messages'))
  }

  #giveUp(why: string): void {
    this.#log.warn({ count: this.#movedCount }, `${why}; they are compared again with the next connection`)
    this.cancel()
  }

  /** Each topic once, however many rules mean it. */
  *#here(): Generator<RetainedTopic | undefined> {
    const filters = this.#pairs?.filtersHere ?? []
    for (const [index, filter] of filters.entries()) {
      const earlier = filters.slice(0, index)
      for (const found of this.#bridge.retained(filter)) {
        const isKnown = found !== undefined && earlier.some((other) => topicMatches(other, found.topic))
        yield isKnown ? undefined : found
      }
    }
  }
}

/** What was changed last stays; of what was changed at once, the larger digest, on both sides alike. */
function moveFor(
  topic: PairedTopic,
  here: { readonly digest: string | null; readonly changedAtMs: number },
  there: readonly [digest: string | null, changedAtMs: number] | undefined,
): Move | undefined {
  const [thereDigest, thereMs] = there ?? [null, Number.NEGATIVE_INFINITY]
  if (here.digest === thereDigest) return undefined
  const isOursLater =
    here.changedAtMs === thereMs ? (here.digest ?? '') > (thereDigest ?? '') : here.changedAtMs > thereMs
  if (isOursLater) return topic.goesOut ? { kind: 'send', topic, changedAtMs: here.changedAtMs } : undefined
  if (!topic.comesIn) return undefined
  return thereDigest === null ? { kind: 'delete', topic, changedAtMs: thereMs } : { kind: 'get', topic }
}
