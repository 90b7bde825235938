/**
 * Looks at a bridge once a second: how it is, how much waits and for how long, when that will be gone. Tells it below
 * `$SYS/brokers/{node}/bridges/{name}/` and in the log, and heals a line on which nothing comes through by opening
 * another one.
 */
import type { BridgeStatus, HealthState } from '../ports/bridge-status.ts'
import type { Clock } from '../ports/clock.ts'
import type { LocalBroker } from '../ports/local.ts'
import type { Log } from '../ports/log.ts'
import type { Mark } from '../ports/store.ts'
import { Publish } from '../protocol/packets/publish.ts'
import { DrainRate } from './drain.ts'
import { Health } from './health.ts'
import type { Sender } from './sender.ts'
import type { Uplink } from './uplink.ts'
import { WireUse } from './wire-use.ts'

export interface MonitorSettings {
  readonly name: string
  readonly clientId: string
  /** Time between two questions to the remote side whether it keeps what it is given. */
  readonly probeSeconds: number
  /** Nothing came through for so long: the connection is closed and opened anew. */
  readonly stuckSeconds: number
}

/** Retained topics that were found to differ. */
export interface RetainedCounts {
  readonly sentCount: number
  readonly receivedCount: number
}

/** How often `$SYS` is told, and a long drain in the log. */
const tellMs = 10_000
const drainLogMs = 60_000

/** A drain that is over sooner is not worth a line. */
const drainCountMin = 100

export class Monitor {
  readonly #settings: MonitorSettings
  readonly #epoch: string
  readonly #clock: Clock
  readonly #log: Log
  readonly #local: LocalBroker
  readonly #sender: Sender
  readonly #uplink: () => Uplink
  readonly #retained: RetainedCounts
  readonly #health: Health
  readonly #drain = new DrainRate()
  readonly #use = new WireUse()
  #isPeer = false
  #state: HealthState = 'offline'
  #oldestMs = 0
  #nextTellMs = 0
  #nextDrainLogMs = Number.POSITIVE_INFINITY

  constructor(parts: {
    settings: MonitorSettings
    epoch: string
    clock: Clock
    log: Log
    local: LocalBroker
    sender: Sender
    uplink: () => Uplink
    retained: RetainedCounts
  }) {
    this.#settings = parts.settings
    this.#epoch = parts.epoch
    this.#clock = parts.clock
    this.#log = parts.log
    this.#local = parts.local
    this.#sender = parts.sender
    this.#uplink = parts.uplink
    this.#retained = parts.retained
    this.#health = new Health(parts.settings.probeSeconds * 1000, parts.settings.stuckSeconds * 1000)
  }

  /** @param isPeer the remote side answers probes */
  connected(isPeer: boolean): void {
    const nowMs = this.#clock.nowMs()
    const count = this.#sender.backlogCount
    this.#isPeer = isPeer
    this.#health.connected(nowMs)
    this.#drain.begin(count, nowMs)
    if (count > 0) this.#log.info({ count }, 'backlog goes out')
    this.#nextDrainLogMs = count >= drainCountMin ? nowMs : Number.POSITIVE_INFINITY
    this.#nextTellMs = nowMs
  }

  disconnected(): void {
    this.#health.disconnected()
    this.#drain.end()
    this.#nextTellMs = this.#clock.nowMs()
  }

  progressed(): void {
    this.#health.progressed(this.#clock.nowMs())
  }

  /** Called once a second. @returns a probe to send now */
  look(): Publish | undefined {
    const nowMs = this.#clock.nowMs()
    const count = this.#sender.backlogCount
    this.#drain.observe(count, nowMs)
    const { sentBytes, receivedBytes } = this.#uplink()
    this.#use.observe(sentBytes + receivedBytes, nowMs)
    this.#health.observe(this.#sender.underWayCount > 0, nowMs)
    this.#logDrain(count, nowMs)
    this.#setState(this.#health.stateAt(nowMs))
    if (nowMs >= this.#nextTellMs) {
      this.#nextTellMs = nowMs + tellMs
      this.#sender.saveAcked()
      this.#sender.oldestAtMs((atMs) => {
        this.#oldestMs = atMs === undefined ? 0 : Math.max(0, this.#clock.nowMs() - atMs)
        this.#tell()
      })
    }
    if (!this.#isPeer) return undefined
    const number = this.#health.dueProbe(this.#sender.ackedSeqs, nowMs)
    if (number === undefined) return undefined
    const payload = JSON.stringify({ number, client: this.#settings.clientId })
    return Publish.create({ topic: '$bridge/probe', payload })
  }

  /** @param payload `{"number":7,"marks":[null,{"epoch":"9f3c","seq":41}]}` */
  answered(payload: string): void {
    const { number, marks } = JSON.parse(payload) as { number: number; marks: (Mark | null)[] }
    const nowMs = this.#clock.nowMs()
    this.#health.answered(
      number,
      marks.map((mark) => mark ?? undefined),
      this.#epoch,
      nowMs,
    )
    this.#setState(this.#health.stateAt(nowMs))
  }

  status(): Omit<BridgeStatus, 'receivedCount' | 'loopedCount'> {
    const { backlogCount } = this.#sender
    const timeToEmptyMs = this.#drain.timeToEmptyMs(backlogCount)
    return {
      name: this.#settings.name,
      health: this.#health.stateAt(this.#clock.nowMs()),
      state: this.#uplink().state,
      backlogCount,
      backlogByLane: this.#sender.backlogByLane,
      backlogBytes: this.#sender.backlogBytes,
      oldestMs: Math.round(this.#oldestMs),
      timeToEmptyMs: timeToEmptyMs === undefined || !Number.isFinite(timeToEmptyMs) ? null : Math.round(timeToEmptyMs),
      forwardedCount: this.#sender.forwardedCount,
      rejectedCount: this.#sender.rejectedCount,
      retainedSentCount: this.#retained.sentCount,
      retainedReceivedCount: this.#retained.receivedCount,
      underWayCount: this.#sender.underWayCount,
      roundTripMs: this.#uplink().roundTripMs,
      commitMs: this.#health.answerMs ?? null,
      bytesPerDay: this.#use.bytesPerDay,
    }
  }

  #setState(state: HealthState): void {
    if (state === this.#state) return
    const former = this.#state
    this.#state = state
    this.#nextTellMs = this.#clock.nowMs()
    if (state === 'stuck' || state === 'lying') this.#log.error({ state, former }, 'health of the bridge')
    else this.#log.info({ state, former }, 'health of the bridge')
    if (state === 'stuck') this.#uplink().retreat('nothing comes through')
  }

  #logDrain(count: number, nowMs: number): void {
    if (nowMs < this.#nextDrainLogMs) return
    const { perSecond } = this.#drain
    const timeToEmptyMs = this.#drain.timeToEmptyMs(count)
    if (timeToEmptyMs === undefined) return
    this.#nextDrainLogMs = count === 0 ? Number.POSITIVE_INFINITY : nowMs + drainLogMs
    if (count === 0) this.#log.info({}, 'backlog is gone')
    else this.#log.info({ count, rate: Math.round(perSecond), ms: Math.round(timeToEmptyMs) }, 'backlog will be gone')
  }

  #tell(): void {
    const status = this.status()
    const seconds = (ms: number | null) => (ms === null ? '' : String(Math.round(ms / 1000)))
    const values: readonly (readonly [string, string])[] = [
      ['health', status.health],
      ['queue/count', String(status.backlogCount)],
      ['queue/bytes', String(status.backlogBytes)],
      ['queue/oldest_seconds', seconds(status.oldestMs)],
      ['queue/seconds_to_empty', seconds(status.timeToEmptyMs)],
      ['messages/forwarded', String(status.forwardedCount)],
      ['messages/rejected', String(status.rejectedCount)],
      ['retained/sent', String(status.retainedSentCount)],
      ['retained/received', String(status.retainedReceivedCount)],
      ['bytes/day', String(status.bytesPerDay)],
    ]
    for (const [name, value] of values) this.#local.tell(`bridges/${this.#settings.name}/${name}`, value)
  }
}
