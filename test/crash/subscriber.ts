/**
 * Receives every number of every publisher and keeps account: what is missing, what came twice, what came late. A
 * QoS 2 message counts when it comes first, and its packet id is remembered until PUBREL, across connections: so a
 * broker that gives the id away too early loses a message here, and one that forgets it doubles one.
 */
import { type AckType, PacketType } from '../../src/protocol/packet.ts'
import type { Publish } from '../../src/protocol/packets/publish.ts'
import { type ClientOwner, DurableClient } from './durable-client.ts'
import type { Publisher } from './publisher.ts'

class Account {
  highest = 0
  readonly missing = new Set<number>()
  doubledCount = 0
  /** Came after a later one of the same publisher had come. */
  lateCount = 0

  get distinctCount(): number {
    return this.highest - this.missing.size
  }

  receive(number: number): void {
    for (; this.highest < number - 1; this.highest++) this.missing.add(this.highest + 1)
    if (number > this.highest) this.highest = number
    else if (this.missing.delete(number)) this.lateCount++
    else this.doubledCount++
  }
}

export class Subscriber implements ClientOwner {
  readonly name: string
  readonly qos: 1 | 2
  readonly client: DurableClient
  readonly #onReceived: () => void
  readonly #accounts = new Map<string, Account>()
  readonly #heldPacketIds = new Set<number>()
  #isSubscribed = false
  receivedCount = 0

  constructor(name: string, qos: 1 | 2, port: () => number, onReceived: () => void) {
    this.name = name
    this.qos = qos
    this.client = new DurableClient(name, port, this)
    this.#onReceived = onReceived
  }

  onOpen(): void {
    if (this.client.isKnown && this.#isSubscribed) return
    this.#isSubscribed = true
    this.client.subscribe('crash/#', this.qos)
  }

  onPublish(publish: Publish): void {
    if (publish.qos === 1) {
      this.#receive(publish)
      this.client.acknowledge(PacketType.puback, publish.packetId)
      return
    }
    if (!this.#heldPacketIds.has(publish.packetId)) {
      this.#heldPacketIds.add(publish.packetId)
      this.#receive(publish)
    }
    this.client.acknowledge(PacketType.pubrec, publish.packetId)
  }

  onFault(error: Error): void {
    throw error
  }

  onAck(type: AckType, packetId: number): void {
    if (type !== PacketType.pubrel) throw new Error(`${this.name} got an acknowledgement for nothing`)
    this.#heldPacketIds.delete(packetId)
    this.client.acknowledge(PacketType.pubcomp, packetId)
  }

  accountOf(publisher: Publisher): Account {
    let account = this.#accounts.get(publisher.name)
    if (account === undefined) {
      account = new Account()
      this.#accounts.set(publisher.name, account)
    }
    return account
  }

  /** Without doubles. */
  get distinctCount(): number {
    let sum = 0
    for (const account of this.#accounts.values()) sum += account.distinctCount
    return sum
  }

  lostOf(publisher: Publisher): number {
    const { highest, missing } = this.accountOf(publisher)
    return missing.size + publisher.count - highest
  }

  #receive(publish: Publish): void {
    const [name = '', number] = publish.payload.toString().split(' ')
    const account = this.#accounts.get(name)
    if (account === undefined) throw new Error(`${this.name} got a message of nobody: ${name}`)
    account.receive(Number(number))
    this.receivedCount++
    this.#onReceived()
  }
}
