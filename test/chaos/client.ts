/**
 * A client of the chaos run: publishes numbers into streams at a steady pace, and receives those of others. It keeps
 * its sessions, and after a reconnect sends again what it owes, as MQTT has it.
 */
import { type AckType, PacketType } from '../../src/protocol/packet.ts'
import type { Publish } from '../../src/protocol/packets/publish.ts'
import { type ClientOwner, DurableClient } from '../crash/durable-client.ts'
import type { Stream } from './stream.ts'

export interface Outlet {
  readonly stream: Stream
  readonly topic: string
  readonly qos: 1 | 2
  /** undefined = its messages do not expire. */
  readonly expirySeconds: number | undefined
}

/** Takes what a payload `id number` says (stream.ts, arrive). */
export type Receive = (id: string, number: number, connection: number, isOnceOnly: boolean) => void

type Owed = { readonly outlet: Outlet; readonly number: number; isReleased: boolean }

/** Messages under way at a time; beyond it the pace slows down. */
const windowCount = 200

export class ChaosClient implements ClientOwner {
  readonly client: DurableClient
  readonly #filter: string | undefined
  readonly #receive: Receive
  readonly #owed = new Map<number, Owed>()
  readonly #heldPacketIds = new Set<number>()
  #nextPacketId = 1
  #connectionCount = 0
  #isSubscribed = false
  /** What ended it before its time. */
  fault: Error | undefined

  /**
   * @param filter what it subscribes to at QoS 2; undefined = nothing
   */
  constructor(clientId: string, port: number, filter: string | undefined, receive: Receive) {
    this.client = new DurableClient(clientId, () => port, this)
    this.#filter = filter
    this.#receive = receive
  }

  get isReady(): boolean {
    return this.client.isOpen && (this.#filter === undefined || this.client.isKnown)
  }

  /** The next number of a stream; nothing while too much is under way. */
  publish(outlet: Outlet): void {
    if (this.#owed.size >= windowCount || !this.client.isOpen) return
    while (this.#owed.has(this.#nextPacketId)) this.#nextPacketId = (this.#nextPacketId % 60_000) + 1
    const packetId = this.#nextPacketId
    this.#nextPacketId = (packetId % 60_000) + 1
    const number = ++outlet.stream.publishedCount
    this.#owed.set(packetId, { outlet, number, isReleased: false })
    this.#send(packetId, false)
  }

  onOpen(): void {
    this.#connectionCount++
    if (this.#filter !== undefined && !(this.client.isKnown && this.#isSubscribed)) {
      this.#isSubscribed = true
      this.client.subscribe(this.#filter, 2)
    }
    for (const [packetId, owed] of this.#owed) {
      if (owed.isReleased) this.client.acknowledge(PacketType.pubrel, packetId)
      else this.#send(packetId, true)
    }
  }

  onFault(error: Error): void {
    this.fault = error
  }

  onAck(type: AckType, packetId: number): void {
    if (type === PacketType.pubrel) {
      this.#heldPacketIds.delete(packetId)
      this.client.acknowledge(PacketType.pubcomp, packetId)
      return
    }
    const owed = this.#owed.get(packetId)
    if (owed === undefined) return
    if (type === PacketType.pubrec) {
      owed.isReleased = true
      this.client.acknowledge(PacketType.pubrel, packetId)
      return
    }
    this.#owed.delete(packetId)
    this.client.isKnown = true
    owed.outlet.stream.acknowledge(owed.number)
  }

  onPublish(message: Publish): void {
    const { packetId, qos } = message
    const isAgain = qos === 2 && this.#heldPacketIds.has(packetId)
    if (qos === 2) this.#heldPacketIds.add(packetId)
    if (!isAgain) {
      const [id = '', number] = message.payload.toString().split(' ')
      this.#receive(id, Number(number), this.#connectionCount, qos === 2)
    }
    this.client.acknowledge(qos === 2 ? PacketType.pubrec : PacketType.puback, packetId)
  }

  #send(packetId: number, dup: boolean): void {
    const owed = this.#owed.get(packetId)
    if (owed === undefined) return
    const { outlet, number } = owed
    if (dup && outlet.qos === 1) outlet.stream.sendAgain(number)
    const { topic, stream, qos, expirySeconds } = outlet
    const properties = expirySeconds === undefined ? undefined : { messageExpiryInterval: expirySeconds }
    this.client.publish(topic, `${stream.id} ${number}`, qos, dup, packetId, properties)
  }
}
