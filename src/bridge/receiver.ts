/**
 * The receiving end of numbered messages (ports/local.ts, PublishGate): each is taken once however often it is sent
 * again, and one that is missing is noticed. A small mark per peer and lane is all that is kept; it is stored in the
 * same group commit as the message, so a crash keeps both or neither.
 *
 *   seq <= mark: came before          previous <= mark: nothing is missing
 *   otherwise new                     otherwise a gap, explained by what the sender dropped on purpose, or not
 */
import type { Clock } from '../ports/clock.ts'
import { Lane } from '../ports/lane.ts'
import type { Admission, GateLink, PublishGate } from '../ports/local.ts'
import type { PeerLink } from '../ports/peer.ts'
import type { Durability } from '../ports/store.ts'
import { takeCrossing } from '../protocol/crossing.ts'
import { findNumber, findSkips, type MessageNumber, type Skip, withoutNumber } from '../protocol/message-number.ts'
import type { UserProperties } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import type { Marks } from './marks.ts'
import { ResponseTable } from './response-table.ts'
import { RetainedAnswerer } from './retained-answerer.ts'

/** Messages that a peer sent, or meant to send, and that are not here. */
export interface Gap {
  /** Identity or client id. */
  readonly peer: string
  readonly lane: number
  /** The first and the last that may be missing. */
  readonly firstSeq: number
  readonly lastSeq: number
  /** What the sender dropped on purpose, as far as it lies in the gap. */
  readonly skips: readonly Skip[]
  /** The sender does not explain all of it: something was lost. */
  readonly isUnexplained: boolean
}

export class GatewayReceiver implements PublishGate {
  readonly #marks: Marks
  readonly #clock: Clock
  /** Told of every gap, before the message behind it goes on; publishes nothing inside the call. */
  onGap: ((gap: Gap) => void) | undefined

  constructor(marks: Marks, clock: Clock) {
    this.#marks = marks
    this.#clock = clock
  }

  /** By peer: an answer may come over a later connection. */
  readonly #responses = new Map<string, ResponseTable>()

  responsesOf(key: string): ResponseTable {
    let table = this.#responses.get(key)
    if (table === undefined) {
      table = new ResponseTable(this.#clock)
      this.#responses.set(key, table)
    }
    return table
  }

  open(identity: string | undefined, clientId: string, peer?: PeerLink): ReceiverLink {
    const answerer = peer && new RetainedAnswerer(this.#clock, peer)
    return new ReceiverLink(this, this.#marks, `${identity ?? ''}/${clientId}`, identity ?? clientId, answerer)
  }
}

/** Response Topics of this broker that are outside the topics of a peer are below this to it. */
const responsePrefix = 'response/above/'

/** One connection of a peer. */
export class ReceiverLink implements GateLink {
  readonly #receiver: GatewayReceiver
  readonly #marks: Marks
  readonly #key: string
  readonly #peer: string
  readonly #answerer: RetainedAnswerer | undefined
  readonly #lanes = new Map<number, LaneState>()
  /** The number of what was admitted last; undefined when it had none. */
  #admitted: MessageNumber | undefined

  constructor(
    receiver: GatewayReceiver,
    marks: Marks,
    key: string,
    peer: string,
    answerer: RetainedAnswerer | undefined,
  ) {
    this.#receiver = receiver
    this.#marks = marks
    this.#key = key
    this.#peer = peer
    this.#answerer = answerer
  }

  responseTopicFor(topic: string): string {
    return responsePrefix + this.#receiver.responsesOf(this.#key).tokenFor(topic)
  }

  answeredTopic(peerTopic: string): string | undefined {
    if (!peerTopic.startsWith(responsePrefix)) return undefined
    return this.#receiver.responsesOf(this.#key).topicOf(peerTopic.slice(responsePrefix.length))
  }

  ask(payload: string): void {
    this.#answerer?.ask(payload)
  }

  close(): void {
    this.#answerer?.close()
  }

  admit(message: Publish, durability?: Durability): Admission {
    takeCrossing(message)
    this.#admitted = undefined
    const { properties } = message
    const userProperties = properties?.userProperties
    if (userProperties === undefined) return 'unnumbered'
    const number = findNumber(userProperties)
    if (number === undefined) return 'unnumbered'
    const state = this.#laneState(number.lane)
    const mark = this.#marks.get(state.key)
    const isSameLog = mark?.epoch === number.epoch
    if (isSameLog && number.seq <= mark.seq) return 'again'
    if (number.seq > state.refusedSeq) return 'wait'
    state.refusedSeq = Number.POSITIVE_INFINITY
    // Whoever was never here before begins where he is; a known one with a new log begins at its beginning.
    if (mark !== undefined) this.#checkGap(number, isSameLog ? mark.seq : 0, userProperties)
    this.#marks.set(state.key, { epoch: number.epoch, seq: number.seq }, durability, number.lane === Lane.control)
    this.#admitted = number
    // The message is the receiver's own from the decoder on, and nobody else has seen it yet.
    const left = withoutNumber(userProperties)
    message.properties =
      left === undefined && isEmptyBut(properties) ? undefined : { ...properties, userProperties: left }
    return 'new'
  }

  refused(message: Publish, isForGood: boolean): void {
    const number = findNumber(message.properties?.userProperties)
    if (number === undefined) return
    const { epoch, lane, seq } = number
    const state = this.#laneState(lane)
    if (!isForGood) {
      state.refusedSeq = Math.min(state.refusedSeq, seq)
      return
    }
    this.#marks.set(state.key, { epoch, seq })
    this.#tellRefused(lane, seq)
  }

  turnedAway(): void {
    if (this.#admitted !== undefined) this.#tellRefused(this.#admitted.lane, this.#admitted.seq)
  }

  #tellRefused(lane: number, seq: number): void {
    const skip = { firstSeq: seq, lastSeq: seq, count: 1, reason: 'refused' }
    this.#receiver.onGap?.({ peer: this.#peer, lane, firstSeq: seq, lastSeq: seq, skips: [skip], isUnexplained: false })
  }

  #laneState(lane: number): LaneState {
    let state = this.#lanes.get(lane)
    if (state === undefined) {
      state = { key: `${this.#key}/${lane}`, refusedSeq: Number.POSITIVE_INFINITY }
      this.#lanes.set(lane, state)
    }
    return state
  }

  #checkGap({ lane, previous }: MessageNumber, knownSeq: number, userProperties: UserProperties): void {
    if (previous <= knownSeq) return
    const inGap = findSkips(userProperties).filter(({ lastSeq }) => lastSeq > knownSeq)
    let explainedUpTo = knownSeq
    for (const skip of inGap) if (skip.firstSeq <= explainedUpTo + 1) explainedUpTo = skip.lastSeq
    const isUnexplained = explainedUpTo < previous
    const firstSeq = knownSeq + 1
    this.#receiver.onGap?.({ peer: this.#peer, lane, firstSeq, lastSeq: previous, skips: inGap, isUnexplained })
  }
}

interface LaneState {
  readonly key: string
  /** Refused for the moment: nothing behind it is taken before it. */
  refusedSeq: number
}

function isEmptyBut(properties: Publish['properties']): boolean {
  for (const name in properties) {
    if (name !== 'userProperties' && properties[name as keyof typeof properties] !== undefined) return false
  }
  return true
}
