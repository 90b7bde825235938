/** The messages of one lane by rising seq: added at the end, dropped from the front. */
import type { LaneExtent, Seq, StoredMessage } from '../../ports/store.ts'
import type { Publish } from '../../protocol/packets/publish.ts'
import { propertiesByteCount } from '../../protocol/property.ts'
import { variableByteCount } from '../../protocol/variable-byte-integer.ts'

/** Dropped slots are kept up to this count, or as many as there are messages, before the array is cut. */
const slackMax = 1024

export class LaneQueue implements LaneExtent {
  lastSeq: Seq = 0
  byteCount = 0
  #messages: StoredMessage[] = []
  #head = 0

  get messageCount(): number {
    return this.#messages.length - this.#head
  }

  get oldest(): StoredMessage | undefined {
    return this.#messages[this.#head]
  }

  push(message: StoredMessage): void {
    this.#messages.push(message)
    this.lastSeq = message.seq
    this.byteCount += byteCountOf(message.publish)
  }

  dropUpTo(seq: Seq): void {
    for (let oldest = this.oldest; oldest !== undefined && oldest.seq <= seq; oldest = this.oldest) {
      this.byteCount -= byteCountOf(oldest.publish)
      this.#head++
    }
    if (this.#head > Math.max(slackMax, this.messageCount)) {
      this.#messages = this.#messages.slice(this.#head)
      this.#head = 0
    }
  }

  /** The messages at or after `from`, as long as the caller goes on. */
  *from(from: Seq): Generator<StoredMessage> {
    let low = this.#head
    let high = this.#messages.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#messages[middle] as StoredMessage).seq < from) low = middle + 1
      else high = middle
    }
    for (let at = low; at < this.#messages.length; at++) yield this.#messages[at] as StoredMessage
  }
}

/** Bytes of topic, payload and properties as they are on the wire. */
export function byteCountOf({ topicStart, topicEnd, payloadByteCount, properties }: Publish): number {
  const propertyBytes = propertiesByteCount(properties)
  const lengthBytes = propertyBytes === 0 ? 0 : variableByteCount(propertyBytes)
  return topicEnd - topicStart + payloadByteCount + lengthBytes + propertyBytes
}
