/** The message log in memory: every message that was not trimmed, as it was appended. */
import type { MessageLog, ReadAnswer, ReadLimit, Seq, StoredMessage } from '../../ports/store.ts'
import type { Publish } from '../../protocol/packets/publish.ts'
import { propertiesByteCount } from '../../protocol/property.ts'
import { variableByteCount } from '../../protocol/variable-byte-integer.ts'
import type { MemoryDisk } from './disk.ts'

export class MemoryMessageLog implements MessageLog {
  lastSeq: Seq
  byteCount = 0
  readonly #disk: MemoryDisk
  readonly #join: (change: () => void) => void

  /** @param join makes a change part of the open group commit */
  constructor(disk: MemoryDisk, join: (change: () => void) => void) {
    this.#disk = disk
    this.#join = join
    this.lastSeq = this.durableSeq
    for (let seq = this.firstSeq; seq <= this.lastSeq; seq++) this.byteCount += byteCountAt(disk, seq)
  }

  get firstSeq(): Seq {
    return this.#disk.messages.firstNumber
  }

  get durableSeq(): Seq {
    return this.#disk.messages.nextNumber - 1
  }

  get messageCount(): number {
    return this.lastSeq - this.firstSeq + 1
  }

  append(publish: Publish): Seq {
    const seq = ++this.lastSeq
    const message = { seq, publish: publish.own() }
    this.byteCount += byteCountOf(message)
    this.#join(() => this.#disk.messages.push(message))
    return seq
  }

  read(from: Seq, limit: ReadLimit, answer: ReadAnswer): void {
    const first = Math.max(from, this.firstSeq)
    const to = first + Math.max(1, limit.countMax) - 1
    answer(this.#disk.messages.run(first, to, limit.bytesMax, byteCountOf), undefined)
  }

  trim(upTo: Seq): void {
    this.#join(() => {
      const { messages } = this.#disk
      for (let seq = this.firstSeq; seq <= Math.min(upTo, this.durableSeq); seq++) {
        this.byteCount -= byteCountAt(this.#disk, seq)
      }
      messages.dropUpTo(upTo)
    })
  }
}

function byteCountAt(disk: MemoryDisk, seq: Seq): number {
  const message = disk.messages.at(seq)
  return message === undefined ? 0 : byteCountOf(message)
}

/** Bytes of topic, payload and properties as they are on the wire. */
function byteCountOf({ publish }: StoredMessage): number {
  const { topicStart, topicEnd, payloadByteCount, properties } = publish
  const propertyBytes = propertiesByteCount(properties)
  const lengthBytes = propertyBytes === 0 ? 0 : variableByteCount(propertyBytes)
  return topicEnd - topicStart + payloadByteCount + lengthBytes + propertyBytes
}
