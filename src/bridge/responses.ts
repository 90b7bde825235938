/**
 * Requests and their answers across a bridge (MQTT 5.0 §4.10): the Response Topic of a request is called on the other side
 * what the rules call it on the way back. Where no rule takes it back it gets a topic of the bridge's own, by which
 * the answer is known.
 *
 *   request goes up, Response Topic here      -> `response/{client id}/{token}` there, which the bridge subscribes to
 *   request comes down, Response Topic there  -> `response/{bridge}/{token}` here, of which the bridge takes the answers
 */
import type { Clock } from '../ports/clock.ts'
import type { SubscriptionRequest } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import { Mapping, type MappingRule } from './mapping.ts'
import { ResponseTable } from './response-table.ts'

export interface ResponseSettings {
  readonly name: string
  readonly clientId: string
  /** At brokers that are no Tidegate, too. */
  readonly ownResponseTopics: boolean
}

/** What the bridge asks of the remote side to hear answers. */
export function responseSubscription({ clientId }: Pick<ResponseSettings, 'clientId'>): SubscriptionRequest {
  const topicFilter = `${prefixOf(clientId)}+`
  return { topicFilter, qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 2 }
}

/** The same at a broker that is no Tidegate, which is asked only where the settings say so. */
export function ownResponseSubscriptions(settings: ResponseSettings): readonly SubscriptionRequest[] {
  return settings.ownResponseTopics ? [responseSubscription(settings)] : []
}

export class Responses {
  readonly #settings: ResponseSettings
  /** Response topics here, of requests that went up. */
  readonly #here: ResponseTable
  /** Response topics of the remote side. */
  readonly #there: ResponseTable
  readonly #prefixHere: string
  readonly #prefixThere: string
  #out: Mapping
  #in: Mapping
  #isPeer = false

  constructor(
    settings: ResponseSettings & { readonly out: readonly MappingRule[]; readonly in: readonly MappingRule[] },
    clock: Clock,
  ) {
    this.#settings = settings
    this.#here = new ResponseTable(clock)
    this.#there = new ResponseTable(clock)
    this.#prefixHere = prefixOf(settings.name)
    this.#prefixThere = prefixOf(settings.clientId)
    this.#out = new Mapping(settings.out, 'out')
    this.#in = new Mapping(settings.in, 'in')
  }

  map(out: readonly MappingRule[], into: readonly MappingRule[]): void {
    this.#out = new Mapping(out, 'out')
    this.#in = new Mapping(into, 'in')
  }

  /** @param isPeer the remote side is a Tidegate */
  online(isPeer: boolean): void {
    this.#isPeer = isPeer
  }

  /** What the bridge takes of this broker besides what its rules say. */
  get filterHere(): string {
    return `${this.#prefixHere}+`
  }

  /** What a Response Topic of this side is called on the other. */
  goingUp(responseTopic: string): string {
    const mapped = this.#in.unmap(responseTopic)
    if (mapped !== undefined || !(this.#isPeer || this.#settings.ownResponseTopics)) return mapped ?? responseTopic
    return this.#prefixThere + this.#here.tokenFor(responseTopic)
  }

  /** Gives a request that came down a Response Topic of this side. */
  comeDown(request: Publish): void {
    const responseTopic = request.properties?.responseTopic
    if (responseTopic === undefined) return
    const mapped = this.#out.unmap(responseTopic) ?? this.#prefixHere + this.#there.tokenFor(responseTopic)
    request.properties = { ...request.properties, responseTopic: mapped }
  }

  /** Where an answer given here goes; undefined when `topic` is not that of one. */
  answerUp(topic: string): string | undefined {
    return topic.startsWith(this.#prefixHere) ? this.#there.topicOf(topic.slice(this.#prefixHere.length)) : undefined
  }

  /** The same for an answer of the other side. */
  answerDown(topic: string): string | undefined {
    return topic.startsWith(this.#prefixThere) ? this.#here.topicOf(topic.slice(this.#prefixThere.length)) : undefined
  }
}

function prefixOf(name: string): string {
  return `response/${name.replace(/[/+#]/g, '_')}/`
}
