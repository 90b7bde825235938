/**
 * A client with a session that outlives its connections, on a real socket. It connects again for as long as it is
 * wanted, and what it owes after a reconnect its owner says in `onOpen`. It keeps MQTT's promises to the letter, for
 * the broker is judged by what reaches it.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { decodePacket } from '../../src/protocol/decode.ts'
import { encodeAck, encodePacket } from '../../src/protocol/encode.ts'
import { PacketFault } from '../../src/protocol/fault.ts'
import { FrameDecoder } from '../../src/protocol/frame.ts'
import { OutputBuffer } from '../../src/protocol/output.ts'
import {
  type AckType,
  type ControlPacket,
  PacketType,
  type PublishProperties,
  type Qos,
} from '../../src/protocol/packet.ts'
import { decodePublish, encodePublish, Publish, TopicMemo } from '../../src/protocol/packets/publish.ts'

const retryMs = 10

export interface ClientOwner {
  /** CONNACK came. */
  onOpen(): void
  /** Borrowed for the call. */
  onPublish(publish: Publish): void
  onAck(type: AckType, packetId: number): void
  /** The broker broke a promise or refused something. The client is over with it and does not connect again. */
  onFault(error: Error): void
}

export class DurableClient {
  readonly #clientId: string
  readonly #port: () => number
  readonly #owner: ClientOwner
  readonly #output = new OutputBuffer()
  #socket: Socket | undefined
  #isWanted = false
  #isOpen = false
  #isFlushScheduled = false
  /** How long packets gather before they are written. */
  flushDelayMs: () => number = () => 0
  /** The broker has answered something that it may not forget. */
  isKnown = false
  /** How often the broker had forgotten it all the same. */
  forgottenCount = 0

  /** @param port where the broker listens now */
  constructor(clientId: string, port: () => number, owner: ClientOwner) {
    this.#clientId = clientId
    this.#port = port
    this.#owner = owner
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  start(): void {
    this.#isWanted = true
    this.#connect()
  }

  /** Leaves without a DISCONNECT. */
  async stop(): Promise<void> {
    this.#isWanted = false
    const socket = this.#socket
    if (socket === undefined || socket.closed) return
    socket.destroy()
    await once(socket, 'close')
  }

  subscribe(topicFilter: string, qos: Qos): void {
    const subscription = { topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
    this.#send({ type: PacketType.subscribe, packetId: 1, subscriptions: [subscription], properties: undefined })
  }

  publish(
    topic: string,
    payload: string,
    qos: 1 | 2,
    dup: boolean,
    packetId: number,
    properties?: PublishProperties,
  ): void {
    const message = Publish.create({ topic, payload })
    encodePublish(this.#output, message, 5, qos, false, dup, packetId, properties, Number.POSITIVE_INFINITY)
    this.#flushSoon()
  }

  acknowledge(type: AckType, packetId: number): void {
    encodeAck(this.#output, type, packetId)
    this.#flushSoon()
  }

  #connect(): void {
    const socket = connect({ port: this.#port(), host: '127.0.0.1', noDelay: true })
    const frames = new FrameDecoder(1_000_000)
    this.#socket = socket
    this.#output.take()
    socket.on('connect', () => {
      this.#send({
        type: PacketType.connect,
        version: 5,
        isBridge: false,
        cleanStart: false,
        clientId: this.#clientId,
        keepAliveSeconds: 0,
        username: undefined,
        password: undefined,
        will: undefined,
        properties: { sessionExpiryInterval: 86_400 },
      })
    })
    socket.on('data', (chunk) => {
      try {
        this.#receive(frames, chunk)
      } catch (error) {
        this.#isWanted = false
        socket.destroy()
        this.#owner.onFault(error as Error)
      }
    })
    // A broker that is killed resets its connections, and until it is back it refuses new ones.
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#isOpen = false
      if (this.#isWanted) setTimeout(() => this.#isWanted && this.#connect(), retryMs)
    })
  }

  #receive(frames: FrameDecoder, chunk: Buffer): void {
    frames.push(chunk)
    while (frames.next()) {
      const { header, bytes, start, end } = frames
      if (header >> 4 === PacketType.publish) {
        this.#owner.onPublish(decodePublish(bytes, start, end, header & 15, 5, new TopicMemo()))
        continue
      }
      const packet = decodePacket(header, bytes, start, end, 5)
      if (packet instanceof PacketFault) throw packet
      this.#receivePacket(packet)
    }
  }

  #receivePacket(packet: ControlPacket): void {
    switch (packet.type) {
      case PacketType.connack:
        if (packet.reasonCode !== 0) throw new Error(`${this.#clientId} was refused with ${packet.reasonCode}`)
        if (this.isKnown && !packet.sessionPresent) this.forgottenCount++
        this.#isOpen = true
        this.#owner.onOpen()
        return
      case PacketType.suback:
        this.isKnown = true
        return
      case PacketType.puback:
      case PacketType.pubrec:
      case PacketType.pubrel:
      case PacketType.pubcomp:
        if (packet.reasonCode >= 0x80 && packet.type !== PacketType.pubcomp && packet.type !== PacketType.pubrel)
          throw new Error(`a message of ${this.#clientId} was refused with ${packet.reasonCode}`)
        this.#owner.onAck(packet.type, packet.packetId)
        return
      default:
        throw new Error(`${this.#clientId} got ${JSON.stringify(packet)}`)
    }
  }

  #send(packet: ControlPacket): void {
    encodePacket(this.#output, packet, 5)
    this.#flushSoon()
  }

  #flushSoon(): void {
    if (this.#isFlushScheduled) return
    this.#isFlushScheduled = true
    const delayMs = this.flushDelayMs()
    if (delayMs === 0) setImmediate(() => this.#flush())
    else setTimeout(() => this.#flush(), delayMs)
  }

  #flush(): void {
    this.#isFlushScheduled = false
    const pieces = this.#output.take()
    if (this.#socket?.writable !== true) return
    for (const piece of pieces) this.#socket.write(piece)
  }
}
