/**
 * An MQTT client as small firmware has it: one durable session, readings with QoS 1 and a window of them under way,
 * the oldest first and as duplicates after a reconnect. MQTT 3.1.1, or 5.0 with an alias in place of its topic.
 * Speaks `mqtt-packet`, so that it does not share the mistakes of the broker.
 */
import { generate, type IPublishPacket, type Packet, type Parser, parser } from 'mqtt-packet'
import type { DeviceClock, DeviceTimer } from '../clock.ts'
import type { ResetReason } from '../device-hello.ts'
import type { Head, HeadOwner, Stream, StreamOwner } from './head.ts'

export interface MqttOptions {
  readonly clientId: string
  /** 5: the topic is sent once in a connection, and its alias from then on. */
  readonly version?: 4 | 5 | undefined
  /** Readings sent and not acknowledged at one time. */
  readonly inFlightMax?: number | undefined
}

export const inFlightDefault = 8
const keepAliveSeconds = 10
const answerMs = 5000
/** The next CONNECT comes so long after one that was refused or not answered. */
const connectAgainMs = 1000
const sessionExpirySeconds = 3600
const topicAlias = 1

export class MqttHead implements Head {
  readonly isAcknowledged = true
  readonly stream: Stream
  readonly #options: MqttOptions
  readonly #owner: HeadOwner
  readonly #clock: DeviceClock
  #inFlightCount = 0
  #lastPacketId = 0
  #isReady = false
  #mayAlias = false
  #isAliasKnown = false
  #parser: Parser = parser()
  #keepAliveTimer: DeviceTimer | undefined
  /** Ends a wait: for CONNACK, for PINGRESP, or until the next CONNECT. */
  #answerTimer: DeviceTimer | undefined
  #connectAtMs = 0

  constructor(options: MqttOptions, makeStream: (owner: StreamOwner) => Stream, clock: DeviceClock, owner: HeadOwner) {
    this.#options = options
    this.#owner = owner
    this.#clock = clock
    this.stream = makeStream({
      onUp: () => this.#connectSoon(),
      onBytes: (bytes) => this.#onBytes(bytes),
      onDown: () => this.#onDown(),
    })
  }

  get isReady(): boolean {
    return this.#isReady
  }

  powerOn(reason: ResetReason): void {
    this.stream.powerOn(reason)
  }

  powerOff(): void {
    this.stream.powerOff()
    this.#onDown()
    this.#connectAtMs = 0
  }

  cut(): void {
    // What is not acknowledged is still in the queue.
  }

  receive(bytes: Buffer): void {
    this.stream.receive(bytes)
  }

  /** Fills the window, oldest first. After a reconnect that begins with what was in flight before, as its duplicate. */
  flush(): void {
    if (!this.#isReady) return
    const { queue } = this.#owner
    const inFlightMax = this.#options.inFlightMax ?? inFlightDefault
    while (this.#inFlightCount < Math.min(inFlightMax, queue.length)) {
      const reading = queue[this.#inFlightCount]
      if (reading === undefined) return
      this.#inFlightCount++
      const dup = reading.sentCount > 0
      if (dup) this.#owner.onResent(reading)
      else reading.packetId = this.#nextPacketId()
      reading.sentCount++
      this.#publish({ qos: 1, dup, messageId: reading.packetId, payload: reading.payload })
    }
  }

  say(topic: string, payload: string): void {
    if (this.#isReady) this.#send({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false })
  }

  log(text: string): void {
    this.stream.log(text)
  }

  #publish(fields: Pick<IPublishPacket, 'qos' | 'dup' | 'messageId' | 'payload'>): void {
    const { topic } = this.#owner
    if (!this.#mayAlias) {
      this.#send({ cmd: 'publish', topic, retain: false, ...fields })
      return
    }
    const named = this.#isAliasKnown ? '' : topic
    this.#isAliasKnown = true
    this.#send({ cmd: 'publish', topic: named, retain: false, ...fields, properties: { topicAlias } })
  }

  #connect(): void {
    const { clientId, version: protocolVersion = 4 } = this.#options
    this.#parser = parser({ protocolVersion })
    this.#parser.on('packet', (packet: Packet) => this.#onPacket(packet))
    this.#parser.on('error', () => this.stream.reset())
    this.#mayAlias = false
    this.#isAliasKnown = false
    this.#send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion,
      clientId,
      clean: false,
      keepalive: keepAliveSeconds,
      ...(protocolVersion === 5 && { properties: { sessionExpiryInterval: sessionExpirySeconds } }),
    })
    this.#awaitAnswer()
  }

  /** At once, but after an attempt that failed not before a moment has passed. */
  #connectSoon(): void {
    const waitMs = Math.max(0, this.#connectAtMs - this.#clock.nowMs())
    this.#answerTimer = this.#clock.after(waitMs, () => this.#connect())
  }

  #onDown(): void {
    this.#connectAtMs = this.#isReady ? 0 : this.#clock.nowMs() + connectAgainMs
    this.#isReady = false
    this.#inFlightCount = 0
    this.#keepAliveTimer?.cancel()
    this.#answerTimer?.cancel()
  }

  #onBytes(bytes: Buffer): void {
    this.#parser.parse(bytes)
    this.#owner.onProgress()
  }

  #onPacket(packet: Packet): void {
    switch (packet.cmd) {
      case 'connack':
        this.#mayAlias = (packet.properties?.topicAliasMaximum ?? 0) >= topicAlias
        this.#onConnack(packet.returnCode ?? packet.reasonCode ?? 0)
        return
      case 'puback':
        this.#onPuback(packet.messageId ?? 0)
        return
      case 'publish':
        this.#onPublish(packet)
        return
      case 'suback':
        return
      case 'pingresp':
        this.#answerTimer?.cancel()
        return
      default:
        this.stream.reset()
        return
    }
  }

  #onConnack(returnCode: number): void {
    this.#answerTimer?.cancel()
    if (returnCode !== 0) {
      this.#owner.onRefused()
      return
    }
    this.#isReady = true
    this.#keepAlive()
    this.#subscribe()
    this.#owner.onReady()
    this.flush()
  }

  #subscribe(): void {
    const { commandTopic } = this.#owner
    if (commandTopic === undefined) return
    this.#send({
      cmd: 'subscribe',
      messageId: this.#nextPacketId(),
      subscriptions: [{ topic: commandTopic, qos: 1, nl: false, rap: false, rh: 0 }],
    })
  }

  #onPublish({ qos, messageId, topic, payload }: IPublishPacket): void {
    if (qos > 0) this.#send({ cmd: 'puback', messageId: messageId ?? 0 })
    this.#owner.onCommand(topic, Buffer.from(payload))
  }

  #onPuback(packetId: number): void {
    const at = this.#owner.queue.findIndex((reading) => reading.packetId === packetId)
    if (at < 0 || at >= this.#inFlightCount) return
    this.#inFlightCount--
    this.#owner.onDone(at)
  }

  /** In turn: long before an identifier comes again, its reading was acknowledged. */
  #nextPacketId(): number {
    this.#lastPacketId = (this.#lastPacketId % 0xffff) + 1
    return this.#lastPacketId
  }

  #keepAlive(): void {
    this.#keepAliveTimer = this.#clock.after(keepAliveSeconds * 500, () => {
      this.#send({ cmd: 'pingreq' })
      this.#awaitAnswer()
      this.#keepAlive()
    })
  }

  #awaitAnswer(): void {
    this.#answerTimer?.cancel()
    this.#answerTimer = this.#clock.after(answerMs, () => this.stream.reset())
  }

  #send(packet: Packet): void {
    const version = this.#options.version ?? 4
    this.stream.send(generate(packet, { protocolVersion: version }))
  }
}
