/**
 * The alarms of a node, published as events in EMQX's topics `$SYS/brokers/{node}/alarms/activate` and `deactivate`,
 * with EMQX's fields. What is over is remembered for a while; nothing is kept across restarts, for what is still
 * wrong is raised again.
 */

import type { Alarm, AlarmBoard, AlarmList } from '../ports/alarms.ts'
import type { Clock } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
import type { HouseTopics } from './house-topics.ts'

const endedCountMax = 100

export class Alarms implements AlarmBoard {
  readonly #clock: Clock
  readonly #log: Log
  readonly #topics: HouseTopics
  readonly #topic: string | undefined
  readonly #active = new Map<string, Alarm>()
  /** Oldest first. */
  readonly #ended: Alarm[] = []

  /** @param parts.nodeName undefined = nothing is published */
  constructor(parts: { clock: Clock; log: Log; topics: HouseTopics; nodeName: string | undefined }) {
    this.#clock = parts.clock
    this.#log = parts.log
    this.#topics = parts.topics
    this.#topic = parts.nodeName === undefined ? undefined : `$SYS/brokers/${parts.nodeName}/alarms`
  }

  get list(): AlarmList {
    return { active: [...this.#active.values()], ended: [...this.#ended].reverse() }
  }

  raise(name: string, message: string, details: object): void {
    const raised = this.#active.get(name)
    const startedAtMs = raised?.startedAtMs ?? Math.floor(this.#clock.wallMs())
    const alarm = { name, message, details, startedAtMs, endedAtMs: undefined }
    this.#active.set(name, alarm)
    if (raised !== undefined) return
    this.#log.warn({ alarm: name, ...details }, message)
    this.#announce('activate', alarm)
  }

  clear(name: string): void {
    const alarm = this.#active.get(name)
    if (alarm === undefined) return
    this.#active.delete(name)
    const ended = { ...alarm, endedAtMs: Math.floor(this.#clock.wallMs()) }
    this.#ended.push(ended)
    if (this.#ended.length > endedCountMax) this.#ended.shift()
    this.#log.info({ alarm: name }, 'alarm is over')
    this.#announce('deactivate', ended)
  }

  #announce(event: 'activate' | 'deactivate', { name, message, details, startedAtMs, endedAtMs }: Alarm): void {
    if (this.#topic === undefined) return
    this.#topics.announce(`${this.#topic}/${event}`, () => ({
      name,
      message,
      details,
      activate_at: startedAtMs,
      deactivate_at: endedAtMs ?? 'infinity',
    }))
  }
}
