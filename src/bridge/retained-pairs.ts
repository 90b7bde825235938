/** The retained topics that the rules of a bridge mean: what each is called here and there, and which way it may go. */
import { topicMatches } from '../protocol/topic.ts'
import type { MappingRule } from './mapping.ts'

interface Pair {
  readonly here: string
  readonly there: string
  readonly hereCut: number
  readonly thereCut: number
  goesOut: boolean
  comesIn: boolean
}

/** One topic on both sides. */
export interface PairedTopic {
  readonly here: string
  readonly there: string
  readonly goesOut: boolean
  readonly comesIn: boolean
}

export class RetainedPairs {
  readonly #pairs: readonly Pair[]

  constructor(out: readonly MappingRule[], into: readonly MappingRule[]) {
    const pairs = new Map<string, Pair>()
    const add = ({ filter, localPrefix, remotePrefix }: MappingRule): Pair => {
      const key = [localPrefix, remotePrefix, filter].join('\n')
      const known = pairs.get(key)
      if (known !== undefined) return known
      const pair = {
        here: localPrefix + filter,
        there: remotePrefix + filter,
        hereCut: localPrefix.length,
        thereCut: remotePrefix.length,
        goesOut: false,
        comesIn: false,
      }
      pairs.set(key, pair)
      return pair
    }
    for (const rule of out) add(rule).goesOut = true
    for (const rule of into) add(rule).comesIn = true
    this.#pairs = [...pairs.values()]
  }

  get filtersHere(): readonly string[] {
    return this.#pairs.map(({ here }) => here)
  }

  get filtersThere(): readonly string[] {
    return this.#pairs.map(({ there }) => there)
  }

  /** undefined when the topic does not cross, or comes back as another one. */
  ofHere(topic: string): PairedTopic | undefined {
    const pair = this.#pairs.find(({ here, hereCut }) => topicMatches(here, topic) && topic.length >= hereCut)
    if (pair === undefined) return undefined
    const there = pair.there.slice(0, pair.thereCut) + topic.slice(pair.hereCut)
    return this.#pairThere(there) === pair ? pairedTopic(pair, topic, there) : undefined
  }

  /** The same from the other side. */
  ofThere(topic: string): PairedTopic | undefined {
    const pair = this.#pairThere(topic)
    if (pair === undefined) return undefined
    const here = pair.here.slice(0, pair.hereCut) + topic.slice(pair.thereCut)
    return this.ofHere(here)?.there === topic ? pairedTopic(pair, here, topic) : undefined
  }

  #pairThere(topic: string): Pair | undefined {
    return this.#pairs.find(({ there, thereCut }) => topicMatches(there, topic) && topic.length >= thereCut)
  }
}

function pairedTopic({ goesOut, comesIn }: Pair, here: string, there: string): PairedTopic | undefined {
  return here === '' || there === '' ? undefined : { here, there, goesOut, comesIn }
}
