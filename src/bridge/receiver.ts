/**
 * The receiving end of bridges: recognises a message that came before by its number, so that each arrives once however
 * often a gateway sends it again (ports/local.ts, PublishGate). One small mark per gateway and lane is all it keeps;
 * the mark is stored in the same group commit as the message, so a crash keeps both or neither.
 */
import type { PublishGate } from '../ports/local.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import type { Marks } from './marks.ts'
import { findNumber, numberProperty } from './message-number.ts'

export class GatewayReceiver implements PublishGate {
  readonly #marks: Marks

  constructor(marks: Marks) {
    this.#marks = marks
  }

  admit(peer: string, message: Publish): Publish | undefined {
    const number = findNumber(message.properties?.userProperties)
    if (number === undefined) return message
    const key = `${peer}/${number.lane}`
    const mark = this.#marks.get(key)
    if (mark !== undefined && mark.epoch === number.epoch && number.seq <= mark.seq) return undefined
    this.#marks.set(key, { epoch: number.epoch, seq: number.seq })
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
