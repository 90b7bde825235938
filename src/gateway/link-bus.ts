/**
 * Several devices on one pair of wires (RS-485), each with an address and a link of its own (serial-link.ts). Only who
 * has the turn speaks: the gateway gives it to one device after the other, each time with all that it has for that
 * device, and has it back when the device answers with TURN, or says nothing for too long.
 *
 *   giving ──frames and TURN have left──> listening ──TURN of the device, or time──> giving, to the next
 *
 * What a link wants to say meanwhile waits for its turn; of what says the same only the latest goes out. A device that
 * does not answer is asked seldom, so that it does not hold up the others.
 */
import { assert } from '../lib/assert.ts'
import type { Failure } from '../lib/errors.ts'
import type { Timer } from '../ports/clock.ts'
import { lineMs, mtuOf } from './line-rate.ts'
import { LinkDecoder } from './link-decoder.ts'
import { FrameType, fromDeviceBit, type LinkFrame, wireBytesMax } from './link-frame.ts'
import { LinkHead } from './link-head.ts'
import { helloFrameBytesMax } from './link-hello.ts'
import type { HeadParts, HeadSettings } from './make-head.ts'
import type { HeadCounters, HeadState, PortHead } from './port-head.ts'

/** How long a device may take to begin, once it has the turn. */
const answerMs = 50
/** Without anything to say to a device, it is asked no sooner than this after the turn before ended. */
const restMs = 2
/** A device that let its turn pass is asked again after so long. */
const absentMs = 500

/** Frames that must all go out, in order; of the other types the latest says it all. */
const keptTypes = new Set<number>([FrameType.data, FrameType.nak, FrameType.log])

interface Waiting {
  readonly type: number
  readonly bytes: Buffer
}

interface Station {
  readonly address: number
  readonly head: LinkHead
  waiting: Waiting[]
  state: HeadState
  /** Not asked before. */
  notBeforeMs: number
}

type State = { readonly at: 'closed' } | { readonly at: 'resting'; readonly timer: Timer } | Listening

interface Listening {
  readonly at: 'listening'
  readonly to: Station
  timer: Timer
  /** When our own words have left, and when the device must have come to an end. */
  readonly leftAtMs: number
  readonly lastMs: number
  /** Anything came after our own words, and a frame of the device did. */
  hasBegun: boolean
  hasAnswered: boolean
}

export class LinkBus implements PortHead {
  readonly #settings: HeadSettings
  readonly #parts: HeadParts
  readonly #stations: readonly Station[]
  readonly #decoder: LinkDecoder
  /** What a device may say in one turn, on the wire: its window's worth, and a RST. */
  readonly #turnMs: number
  #state: State = { at: 'closed' }
  #next = 0

  constructor(settings: HeadSettings, parts: HeadParts) {
    this.#settings = settings
    this.#parts = parts
    const mtuBytes = mtuOf(settings.baudRate)
    this.#turnMs = lineMs(wireBytesMax(mtuBytes) + 2 * helloFrameBytesMax, settings.baudRate)
    this.#stations = settings.addresses.map((address) => this.#makeStation(address))
    this.#decoder = new LinkDecoder(mtuBytes, {
      onFrame: (frame) => this.#onFrame(frame),
      onGarbage: () => this.#onGarbage(),
    })
  }

  get counters(): HeadCounters {
    const all = this.#stations.map(({ head }) => head.counters)
    const sum = (of: (counters: HeadCounters) => number) => all.reduce((total, one) => total + of(one), 0)
    return {
      unitCount: this.#decoder.frameCount,
      crcErrorCount: this.#decoder.crcErrorCount,
      cobsErrorCount: this.#decoder.cobsErrorCount,
      oversizeCount: this.#decoder.oversizeCount,
      retransmitCount: sum(({ retransmitCount }) => retransmitCount),
      timeoutCount: sum(({ timeoutCount }) => timeoutCount),
      resetCount: sum(({ resetCount }) => resetCount),
      droppedCount: 0,
    }
  }

  get facts(): Readonly<Record<string, string | number>> {
    const present = this.#stations.filter(({ state }) => state !== 'silent')
    const slowest = (share: number) =>
      Math.max(0, ...present.map(({ head }) => head.link.roundTrips.percentileMs(share)))
    return {
      deviceId: present.map(({ address, head }) => `${address}:${nameIn(head.facts)}`).join(' '),
      roundTripP50Ms: slowest(0.5),
      roundTripP99Ms: slowest(0.99),
    }
  }

  open(): void {
    this.#decoder.clear()
    for (const station of this.#stations) {
      station.waiting = []
      station.state = 'silent'
      station.notBeforeMs = 0
      station.head.open()
    }
    this.#rest(restMs)
  }

  receive(chunk: Buffer): void {
    const state = this.#state
    if (state.at === 'listening' && this.#parts.clock.nowMs() > state.leftAtMs) state.hasBegun = true
    this.#decoder.push(chunk)
  }

  close(failure: Failure | undefined): void {
    this.#enter({ at: 'closed' })
    for (const { head } of this.#stations) head.close(failure)
  }

  /** Out of turn, because there will be none: whom it does not reach finds out by silence. */
  leave(): void {
    for (const station of this.#stations) {
      station.head.leave()
      this.#flush(station)
    }
  }

  // ---- turns ----

  #rest(ms: number): void {
    this.#enter({ at: 'resting', timer: this.#parts.clock.after(ms, () => this.#give()) })
  }

  /** The turn goes to the next device that is due. */
  #give(): void {
    const nowMs = this.#parts.clock.nowMs()
    const station = this.#takeNextDue(nowMs)
    if (station === undefined) {
      const dueMs = Math.min(...this.#stations.map(({ notBeforeMs }) => notBeforeMs))
      this.#rest(Math.max(restMs, dueMs - nowMs))
      return
    }
    station.head.link.giveTurn()
    const leavesMs = lineMs(this.#flush(station), this.#settings.baudRate)
    this.#enter({
      at: 'listening',
      to: station,
      timer: this.#parts.clock.after(leavesMs + answerMs, () => this.#onSilence()),
      leftAtMs: nowMs + leavesMs,
      lastMs: nowMs + leavesMs + answerMs + this.#turnMs,
      hasBegun: false,
      hasAnswered: false,
    })
  }

  #takeNextDue(nowMs: number): Station | undefined {
    for (let tried = 0; tried < this.#stations.length; tried++) {
      const station = this.#stations[(this.#next + tried) % this.#stations.length]
      if (station === undefined || station.notBeforeMs > nowMs) continue
      this.#next = (this.#next + tried + 1) % this.#stations.length
      return station
    }
    return undefined
  }

  /** The device has not begun, or has not come to an end. */
  #onSilence(): void {
    const state = this.#state
    if (state.at !== 'listening') return
    const nowMs = this.#parts.clock.nowMs()
    if (state.hasBegun && nowMs < state.lastMs) {
      state.timer = this.#parts.clock.after(state.lastMs - nowMs, () => this.#onSilence())
      return
    }
    if (!state.hasAnswered) state.to.notBeforeMs = nowMs + absentMs
    this.#rest(0)
  }

  #onFrame(frame: LinkFrame): void {
    const state = this.#state
    if (state.at !== 'listening' || frame.address !== (state.to.address | fromDeviceBit)) return
    state.hasAnswered = true
    state.to.head.link.receiveFrame(frame)
    if (frame.type === FrameType.turn && this.#state === state) this.#rest(restMs)
  }

  #onGarbage(): void {
    if (this.#state.at === 'listening') this.#state.to.head.link.receiveGarbage()
  }

  /** @returns bytes on the wire */
  #flush(station: Station): number {
    const waiting = station.waiting
    station.waiting = []
    for (const { bytes } of waiting) this.#parts.port.write(bytes)
    return waiting.reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  #enter(state: State): void {
    if (this.#state.at !== 'closed') this.#state.timer.cancel()
    this.#state = state
  }

  // ---- what the heads see of the port ----

  #makeStation(address: number): Station {
    const station: Station = {
      address,
      head: new LinkHead(
        { ...this.#settings, baudRateMax: undefined, address },
        {
          ...this.#parts,
          port: {
            write: (bytes, type) => this.#put(station, type, bytes),
            unwrittenByteCount: 0,
            changeRate: () => assert(false, 'a bus keeps its rate'),
            // Only of lines without frames; a link has its own way to hold up the peer.
            pause: () => undefined,
            resume: () => undefined,
            onState: (state) => this.#onState(station, state),
            onLog: (text) => this.#parts.port.onLog(text),
          },
        },
      ),
      waiting: [],
      state: 'silent',
      notBeforeMs: 0,
    }
    return station
  }

  #put(station: Station, type: number, bytes: Buffer): void {
    if (!keptTypes.has(type)) station.waiting = station.waiting.filter((other) => other.type !== type)
    station.waiting.push({ type, bytes })
  }

  /** The port is as well as the best of its devices. */
  #onState(station: Station, state: HeadState): void {
    station.state = state
    const states = this.#stations.map((each) => each.state)
    this.#parts.port.onState(states.includes('up') ? 'up' : states.includes('quarantined') ? 'quarantined' : 'silent')
  }
}

function nameIn({ deviceId = '' }: PortHead['facts']): string {
  return String(deviceId)
}
