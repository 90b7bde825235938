/**
 * Publishes the numbers from 1 to `count`, in order, and counts a number as acknowledged only at PUBACK or PUBCOMP.
 * After a reconnect it sends again what it owes: PUBLISH with DUP under the same packet id, or PUBREL.
 */
import { type AckType, PacketType } from '../../src/protocol/packet.ts'
import { type ClientOwner, DurableClient } from './durable-client.ts'

/** Messages under way at a time. */
const windowCount = 100

export class Publisher implements ClientOwner {
  readonly name: string
  readonly qos: 1 | 2
  readonly count: number
  readonly client: DurableClient
  readonly #onAcknowledged: () => void
  /** By packet id, in the order they were sent first. */
  readonly #owed = new Map<number, { readonly number: number; isReleased: boolean }>()
  #nextNumber = 1
  #nextPacketId = 1
  acknowledgedCount = 0

  constructor(name: string, qos: 1 | 2, count: number, port: () => number, onAcknowledged: () => void) {
    this.name = name
    this.qos = qos
    this.count = count
    this.client = new DurableClient(name, port, this)
    this.#onAcknowledged = onAcknowledged
  }

  onOpen(): void {
    for (const [packetId, { number, isReleased }] of this.#owed) {
      if (isReleased) this.client.acknowledge(PacketType.pubrel, packetId)
      else this.#publish(number, packetId, true)
    }
    this.#publishMore()
  }

  onFault(error: Error): void {
    throw error
  }

  onAck(type: AckType, packetId: number): void {
    const owed = this.#owed.get(packetId)
    if (owed === undefined) return
    if (type === PacketType.pubrec && this.qos === 2) {
      owed.isReleased = true
      this.client.acknowledge(PacketType.pubrel, packetId)
    } else if (type === PacketType.puback ? this.qos === 1 : type === PacketType.pubcomp && owed.isReleased) {
      this.#owed.delete(packetId)
      this.acknowledgedCount++
      this.client.isKnown = true
      this.#onAcknowledged()
      this.#publishMore()
    }
  }

  onPublish(): void {
    throw new Error(`${this.name} got a message that it did not ask for`)
  }

  #publishMore(): void {
    while (this.#owed.size < windowCount && this.#nextNumber <= this.count) {
      while (this.#owed.has(this.#nextPacketId)) this.#nextPacketId = (this.#nextPacketId % 65_535) + 1
      const packetId = this.#nextPacketId
      this.#nextPacketId = (packetId % 65_535) + 1
      this.#owed.set(packetId, { number: this.#nextNumber, isReleased: false })
      this.#publish(this.#nextNumber++, packetId, false)
    }
  }

  #publish(number: number, packetId: number, dup: boolean): void {
    this.client.publish(`crash/${this.name}`, `${this.name} ${number}`, this.qos, dup, packetId)
  }
}
