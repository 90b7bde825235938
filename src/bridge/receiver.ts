/**
 * The receiving end of bridges: recognises a message that came before by its number, so that each arrives once however
 * often a gateway sends it again (ports/local.ts, PublishGate). One small mark per gateway and lane is all it keeps;
 * the mark is stored in the same group commit as the message, so a crash keeps both or neither.
 */
import type { PublishGate } from '../ports/local.ts'
import type { Mark, MarkStore } from '../ports/store.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import { findNumber, numberProperty } from './message-number.ts'

export class GatewayReceiver implements PublishGate {
  readonly #store: MarkStore
  readonly #marks = new Map<string, Mark>()

  constructor(store: MarkStore) {
    this.#store = store
  }

  /** Puts back what the store loaded. */
  restore(key: string, mark: Mark): void {
    this.#marks.set(key, mark)
  }

  admit(peer: string, message: Publish): Publish | undefined {
    const number = findNumber(message.properties?.userProperties)
    if (number === undefined) return message
    const key = `${peer}/${number.lane}`
    const mark = this.#marks.get(key)
    if (mark !== undefined && mark.epoch === number.epoch && number.seq <= mark.seq) return undefined
    const next = { epoch: number.epoch, seq: number.seq }
    this.#marks.set(key, next)
    this.#store.set(key, next)
    return withoutNumber(message)
  }
}

function withoutNumber(message: Publish): Publish {
  const copy = message.withTopic(message.topic)
  const { userProperties, ...rest } = message.properties ?? {}
  const others = userProperties?.filter(([name]) => name !== numberProperty) ?? []
  const properties = { ...rest, ...(others.length > 0 && { userProperties: others }) }
  copy.properties = Object.values(properties).some((value) => value !== undefined) ? properties : undefined
  return copy
}
