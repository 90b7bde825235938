/**
 * How fast gateways may send what waits, as somebody above asked it: for one of them, or for all, so that many that
 * come back at once share what there is. Kept as retained messages at `$fleet/pace` and `$fleet/gateways/{gateway}/pace`, and told to
 * each gateway when it is asked and whenever it comes online, also that nothing is asked.
 */
import type { LocalSession } from '../ports/local.ts'
import { Publish } from '../protocol/packets/publish.ts'
import type { Pace } from './pacer.ts'

const topicOfAll = '$fleet/pace'
const topicOf = (gateway: string) => `$fleet/gateways/${gateway}/pace`
const gatewayLevelIndex = 2

export class Paces {
  readonly #session: LocalSession
  readonly #paces = new Map<string, Pace>()
  #ofAll: Pace | undefined

  constructor(session: LocalSession) {
    this.#session = session
  }

  /** Takes up what was asked before. */
  restore(): void {
    this.#session.retained(topicOfAll, (message) => {
      this.#ofAll = readPace(message.payload.toString())
    })
    this.#session.retained(topicOf('+'), (message) => {
      const pace = readPace(message.payload.toString())
      if (pace !== undefined) this.#paces.set(message.topic.split('/')[gatewayLevelIndex] ?? '', pace)
    })
  }

  /** undefined = as fast as it likes. */
  of(gateway: string): Pace | undefined {
    return this.#paces.get(gateway) ?? this.#ofAll
  }

  /**
   * @param gateways all that are known
   * @param pace undefined = as fast as they like
   */
  setAll(gateways: Iterable<string>, pace: Pace | undefined): void {
    this.#ofAll = pace
    this.#keep(topicOfAll, pace)
    for (const gateway of [...this.#paces.keys()]) this.#keep(topicOf(gateway), undefined)
    this.#paces.clear()
    for (const gateway of gateways) this.tell(gateway)
  }

  /** @param pace undefined = what holds for all */
  set(gateway: string, pace: Pace | undefined): void {
    if (pace === undefined) this.#paces.delete(gateway)
    else this.#paces.set(gateway, pace)
    this.#keep(topicOf(gateway), pace)
    this.tell(gateway)
  }

  tell(gateway: string): void {
    const payload = JSON.stringify(this.of(gateway) ?? { rate: 0, burst: 0 })
    this.#session.publish(Publish.create({ topic: `$bridge/${gateway}/pace`, payload }))
  }

  #keep(topic: string, pace: Pace | undefined): void {
    const payload = pace === undefined ? '' : JSON.stringify(pace)
    this.#session.publish(Publish.create({ topic, payload, qos: 1, retain: true }))
  }
}

/** @param payload `{"rate":100,"burst":10}`; a rate of 0, or what cannot be read, asks for nothing */
export function readPace(payload: string): Pace | undefined {
  const match = /"rate":\s*(\d+(?:\.\d+)?)/.exec(payload)
  const burst = /"burst":\s*(\d+(?:\.\d+)?)/.exec(payload)
  const rate = Number(match?.[1] ?? 0)
  return rate === 0 ? undefined : paceOf(rate, burst === null ? undefined : Number(burst[1]))
}

/** @param rate messages per second, above 0 @param burst a tenth of a second unless given */
export function paceOf(rate: number, burst = rate / 10): Pace {
  return { rate, burst: Math.max(1, burst) }
}
