/**
 * The gateway as MQTT client on behalf of a device that speaks none: one connection to our own broker, through the same
 * door as any other (ports/transport.ts), so that rights, limits, mountpoint and will hold for it too. Speaks MQTT 5.
 *
 * What it sends leaves with the end of the turn. QoS 1 and 2 wait for a place in the window of the broker, up to a
 * bound; beyond it, and while the broker has paused us, messages are dropped and counted.
 */
import { must } from '../lib/assert.ts'
import type { Failure } from '../lib/errors.ts'
import { RingQueue } from '../lib/ring-queue.ts'
import type { Clock } from '../ports/clock.ts'
import type { Link, LinkOwner } from '../ports/transport.ts'
import { decodePacket } from '../protocol/decode.ts'
import { encodeAck, encodePacket } from '../protocol/encode.ts'
import { PacketFault } from '../protocol/fault.ts'
import { FrameDecoder } from '../protocol/frame.ts'
import { OutputBuffer } from '../protocol/output.ts'
import { type ControlPacket, PacketType, type Will } from '../protocol/packet.ts'
import { decodePublish, encodePublish, type Publish, TopicMemo } from '../protocol/packets/publish.ts'
import { ReasonCode } from '../protocol/reason.ts'

export interface LineClientSettings {
  readonly clientId: string
  readonly remote: string
  readonly will: Will | undefined
}

export interface LineClientOwner {
  /** `message` is borrowed. */
  onMessage(message: Publish): void
  /** The broker does not let us in, or does not take a message or a filter. */
  onRefused(what: 'connect' | 'publish' | 'subscribe', reasonCode: ReasonCode): void
  /** The broker ended it. */
  onClosed(): void
}

/** Messages with QoS 1 or 2 that wait for a place. */
const waitingMax = 1000
/** What is kept while the broker has paused us. */
const heldBytesMax = 65_536
/** Until CONNACK names the broker's own. */
const windowMin = 10
const packetBytesMax = 1_048_576
const idMax = 65_535

export class LineClient implements Link {
  readonly remote: string
  readonly identity = undefined
  readonly bufferedByteCount = 0
  /** Messages that were not taken: no place, or no room. */
  droppedCount = 0
  readonly #settings: LineClientSettings
  readonly #owner: LineClientOwner
  readonly #clock: Clock
  readonly #output = new OutputBuffer()
  readonly #frames = new FrameDecoder(packetBytesMax)
  readonly #topics = new TopicMemo()
  readonly #waiting = new RingQueue<Publish>(waitingMax)
  readonly #underWay = new Set<number>()
  #link: LinkOwner | undefined
  #window = windowMin
  #lastId = 0
  #isPaused = false
  #isFlushDue = false
  #isClosed = false

  constructor(settings: LineClientSettings, owner: LineClientOwner, clock: Clock) {
    this.remote = settings.remote
    this.#settings = settings
    this.#owner = owner
    this.#clock = clock
  }

  /** Set once, with what the broker answered to this link. Says CONNECT. */
  bind(link: LinkOwner): void {
    this.#link = link
    this.#send({
      type: PacketType.connect,
      version: 5,
      isBridge: false,
      cleanStart: true,
      keepAliveSeconds: 0,
      clientId: this.#settings.clientId,
      username: undefined,
      password: undefined,
      will: this.#settings.will,
      properties: undefined,
    })
  }

  publish(message: Publish): void {
    if (this.#isClosed) return
    if (message.qos === 0) this.#write(message, 0)
    else if (this.#underWay.size < this.#window) this.#write(message, this.#freeId())
    else if (!this.#waiting.push(message)) this.droppedCount++
  }

  subscribe(topicFilter: string): void {
    const packetId = this.#freeId()
    this.#send({
      type: PacketType.subscribe,
      packetId,
      subscriptions: [{ topicFilter, qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 0 }],
      properties: undefined,
    })
  }

  /** Says goodbye: there will be no will. */
  leave(): void {
    if (this.#isClosed) return
    this.#send({ type: PacketType.disconnect, reasonCode: ReasonCode.success, properties: undefined })
    this.#isPaused = false
    this.#flush()
  }

  /** The device is gone: the broker fires the will. */
  lose(failure: Failure | undefined): void {
    if (this.#isClosed) return
    this.#flush()
    if (this.#isClosed) return
    this.#isClosed = true
    this.#link?.onClosed(failure)
  }

  // ---- as the broker sees us ----

  send(pieces: readonly Buffer[]): void {
    if (this.#isClosed) return
    for (const piece of pieces) this.#receive(piece)
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#flushSoon()
  }

  end(): void {
    this.destroy()
  }

  destroy(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#clock.afterTurn(() => {
      this.#link?.onClosed(undefined)
      this.#owner.onClosed()
    })
  }

  // ---- in ----

  #receive(bytes: Buffer): void {
    const frames = this.#frames
    frames.push(bytes)
    while (!this.#isClosed && frames.next()) {
      if (frames.header >> 4 === PacketType.publish) {
        this.#onPublish(decodePublish(frames.bytes, frames.start, frames.end, frames.header & 15, 5, this.#topics))
        continue
      }
      const packet = decodePacket(frames.header, frames.bytes, frames.start, frames.end, 5)
      if (packet instanceof PacketFault) throw packet // Our own broker's packets are whole.
      this.#onPacket(packet)
    }
  }

  #onPublish(message: Publish): void {
    if (message.qos > 0) {
      encodeAck(this.#output, PacketType.puback, message.packetId)
      this.#flushSoon()
    }
    this.#owner.onMessage(message)
  }

  #onPacket(packet: ControlPacket): void {
    switch (packet.type) {
      case PacketType.connack:
        if (packet.reasonCode >= refused) this.#owner.onRefused('connect', packet.reasonCode)
        this.#window = Math.min(idMax, packet.properties?.receiveMaximum ?? idMax)
        this.#fill()
        return
      case PacketType.suback:
        this.#underWay.delete(packet.packetId)
        for (const code of packet.reasonCodes) if (code >= refused) this.#owner.onRefused('subscribe', code)
        return
      case PacketType.pubrec:
        if (packet.reasonCode < refused) {
          encodeAck(this.#output, PacketType.pubrel, packet.packetId)
          this.#flushSoon()
          return
        }
        this.#onDone(packet.packetId, packet.reasonCode)
        return
      case PacketType.puback:
      case PacketType.pubcomp:
        this.#onDone(packet.packetId, packet.reasonCode)
        return
      default:
        return // A DISCONNECT is followed by the end of the link.
    }
  }

  #onDone(packetId: number, reasonCode: ReasonCode): void {
    this.#underWay.delete(packetId)
    if (reasonCode >= refused) this.#owner.onRefused('publish', reasonCode)
    this.#fill()
  }

  // ---- out ----

  #fill(): void {
    while (this.#underWay.size < this.#window && this.#waiting.length > 0) {
      this.#write(must(this.#waiting.shift(), 'message that waits'), this.#freeId())
    }
  }

  #write(message: Publish, packetId: number): void {
    if (this.#output.byteCount + message.payloadByteCount > heldBytesMax) {
      this.droppedCount++
      this.#underWay.delete(packetId)
      return
    }
    encodePublish(this.#output, message, 5, message.qos, message.retain, false, packetId, undefined, packetBytesMax)
    this.#flushSoon()
  }

  /** A number that is not under way, and is from now on. */
  #freeId(): number {
    do this.#lastId = (this.#lastId % idMax) + 1
    while (this.#underWay.has(this.#lastId))
    this.#underWay.add(this.#lastId)
    return this.#lastId
  }

  #send(packet: ControlPacket): void {
    if (this.#isClosed) return
    encodePacket(this.#output, packet, 5)
    this.#flushSoon()
  }

  #flushSoon(): void {
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    this.#clock.afterTurn(() => {
      this.#isFlushDue = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#isClosed || this.#isPaused || this.#output.byteCount === 0) return
    const link = must(this.#link, 'owner of a line client')
    for (const piece of this.#output.take()) {
      if (!this.#isClosed) link.receive(piece)
    }
  }
}

const refused = 0x80
