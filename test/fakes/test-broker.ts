/** A broker on fakes and the memory store, and clients that speak MQTT to it byte by byte: no sockets, no real time. */

import { listenerPolicy } from '../../src/adapters/auth-listener/policy.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { Broker } from '../../src/broker/broker.ts'
import type { LaneLimits } from '../../src/broker/lane-rules.ts'
import { noQueueLimits } from '../../src/broker/session-queue.ts'
import type { BrokerSettings } from '../../src/broker/settings.ts'
import { must } from '../../src/lib/assert.ts'
import type { AuthenticationMethod, Authenticator, Authorizer } from '../../src/ports/auth.ts'
import { lanes } from '../../src/ports/lane.ts'
import type { PublishGate } from '../../src/ports/local.ts'
import type { Log } from '../../src/ports/log.ts'
import type { Store } from '../../src/ports/store.ts'
import type { ListenerTraits } from '../../src/ports/transport.ts'
import { decodePacket } from '../../src/protocol/decode.ts'
import { encodePacket } from '../../src/protocol/encode.ts'
import { PacketFault } from '../../src/protocol/fault.ts'
import { FrameDecoder } from '../../src/protocol/frame.ts'
import { OutputBuffer } from '../../src/protocol/output.ts'
import {
  type Connack,
  type Connect,
  type ControlPacket,
  PacketType,
  type PublishProperties,
  type Qos,
  type SubscriptionRequest,
  type Version,
} from '../../src/protocol/packet.ts'
import { decodePublish, encodePublish, Publish, TopicMemo } from '../../src/protocol/packets/publish.ts'
import { PipeLink } from './pipe-link.ts'
import { SeededRandom } from './seeded-random.ts'
import { VirtualClock } from './virtual-clock.ts'

export const roomyLane: LaneLimits = {
  countMax: Number.POSITIVE_INFINITY,
  bytesMax: 1_000_000,
  ageMsMax: Number.POSITIVE_INFINITY,
  whenFull: 'drop_oldest',
}

export const testSettings: BrokerSettings = {
  packetBytesMax: 65_536,
  inflightMax: 8,
  receiveMaximum: 20,
  queueCountMax: 50,
  outputBytesMax: 65_536,
  sessionExpirySecondsMax: Number.POSITIVE_INFINITY,
  sessionExpirySecondsV3: 3600,
  connectTimeoutMs: 15_000,
  subscribeWaitMsMax: 8000,
  keepAliveSecondsMax: 0,
  topicLevelsMax: 16,
  topicAliasMaximum: 4,
  responseInformation: undefined,
  redirect: undefined,
  sharedSubscriptionStrategy: 'round_robin',
  retainedCountMax: 100,
  retainedBytesMax: 10_000,
  retainedMessagesPerSecondMax: Number.POSITIVE_INFINITY,
  deletedCountMax: 100,
  delayLimits: { countMax: 100, countMaxPerClient: 10, bytesMax: 10_000 },
  queueLimits: noQueueLimits,
  laneRules: [],
  laneLimits: lanes.map(() => roomyLane),
  laneDurabilities: lanes.map(() => 'disk'),
  retainedPayloadBytesMax: 10_000,
  backlogCountMax: 100_000,
  backlogBytesMax: 100_000_000,
  lossTopic: '$edge/loss',
  sys: undefined,
}

const traits: ListenerTraits = {
  name: 'test',
  mountpoint: undefined,
  requireIdentity: false,
  allowAnonymous: true,
  acceptsGateways: false,
}

export const silentLog: Log = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => silentLog,
  isLevelEnabled: () => false,
}

export class TestBroker {
  readonly clock: VirtualClock
  readonly store: Store
  readonly broker: Broker

  private constructor(clock: VirtualClock, store: Store, broker: Broker) {
    this.clock = clock
    this.store = store
    this.broker = broker
  }

  static async start(
    options: {
      settings?: Partial<BrokerSettings>
      clock?: VirtualClock
      store?: Store
      authenticator?: Authenticator
      authorizer?: Authorizer
      authenticationMethods?: readonly AuthenticationMethod[]
      gate?: PublishGate
      log?: Log
    } = {},
  ): Promise<TestBroker> {
    const clock = options.clock ?? new VirtualClock()
    const random = new SeededRandom(1)
    const store = options.store ?? new MemoryStore({ clock, random })
    const broker = new Broker({
      settings: { ...testSettings, ...options.settings },
      clock,
      random,
      log: options.log ?? silentLog,
      store,
      authenticator: options.authenticator ?? listenerPolicy,
      authorizer: options.authorizer ?? listenerPolicy,
      authenticationMethods: options.authenticationMethods ?? [],
      gate: options.gate,
    })
    await broker.load(() => {})
    return new TestBroker(clock, store, broker)
  }

  /** Ends the turn: writes leave, group commits become durable. */
  settle(): void {
    this.clock.endTurn()
  }

  /** Time passes, in steps as the composition root would make it pass. */
  passMs(durationMs: number): void {
    for (let leftMs = durationMs; leftMs > 0; leftMs -= 100) {
      this.clock.advanceMs(Math.min(100, leftMs))
      this.broker.tick()
      this.clock.endTurn()
    }
  }

  open(overrides: Partial<ListenerTraits> & { identity?: string } = {}): TestClient {
    const { identity, ...listener } = overrides
    const link = new PipeLink('pipe', identity)
    link.owner = this.broker.accept(link, { ...traits, ...listener })
    return new TestClient(this, link)
  }

  /** A client that is connected; `connack` tells how. */
  connect(
    connect: Partial<Connect> & { clientId: string },
    overrides: Partial<ListenerTraits> & { identity?: string } = {},
  ): TestClient {
    const client = this.open(overrides)
    client.connect(connect)
    return client
  }
}

export class TestClient {
  readonly link: PipeLink
  readonly #broker: TestBroker
  readonly #frames = new FrameDecoder(1_000_000)
  version: Version = 4
  /** Everything that came and was not taken. */
  #inbox: (ControlPacket | Publish)[] = []

  constructor(broker: TestBroker, link: PipeLink) {
    this.#broker = broker
    this.link = link
  }

  connect(connect: Partial<Connect> & { clientId: string }): Connack | undefined {
    this.version = connect.version ?? 4
    this.send({
      type: PacketType.connect,
      version: this.version,
      isBridge: false,
      cleanStart: true,
      keepAliveSeconds: 0,
      username: undefined,
      password: undefined,
      will: undefined,
      properties: undefined,
      ...connect,
    })
    return this.take(PacketType.connack) as Connack | undefined
  }

  subscribe(topicFilter: string, options: Partial<SubscriptionRequest> & { id?: number } = {}): readonly number[] {
    const { id, ...request } = options
    this.send({
      type: PacketType.subscribe,
      packetId: 1,
      subscriptions: [{ topicFilter, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0, ...request }],
      properties: id === undefined ? undefined : { subscriptionIdentifier: id },
    })
    const suback = this.take(PacketType.suback)
    return suback !== undefined && 'reasonCodes' in suback ? suback.reasonCodes : []
  }

  publish(
    topic: string,
    payload: string,
    options: { qos?: Qos; retain?: boolean; dup?: boolean; packetId?: number; properties?: PublishProperties } = {},
  ): void {
    const { qos = 0, retain = false, dup = false, properties } = options
    const output = new OutputBuffer()
    const packetId = options.packetId ?? (qos === 0 ? 0 : 1)
    const message = Publish.create({ topic, payload })
    encodePublish(output, message, this.version, qos, retain, dup, packetId, properties, Number.POSITIVE_INFINITY)
    this.sendBytes(Buffer.concat(output.take()))
  }

  send(packet: ControlPacket): void {
    const output = new OutputBuffer()
    encodePacket(output, packet, this.version)
    this.sendBytes(Buffer.concat(output.take()))
  }

  sendBytes(bytes: Uint8Array): void {
    this.link.deliver(bytes)
    this.#broker.settle()
  }

  /** The first packet of a type that came, taken out; undefined when there is none. */
  take(type: PacketType): ControlPacket | Publish | undefined {
    this.#read()
    const index = this.#inbox.findIndex((packet) => packet.type === type)
    return index < 0 ? undefined : this.#inbox.splice(index, 1)[0]
  }

  /** Everything that came, in order. */
  takeAll(): (ControlPacket | Publish)[] {
    this.#read()
    const all = this.#inbox
    this.#inbox = []
    return all
  }

  takePublish(): Publish {
    return must(this.take(PacketType.publish), 'a PUBLISH') as Publish
  }

  /** Payloads of the PUBLISH packets that came. */
  takePayloads(): string[] {
    return this.takeAll()
      .filter((packet) => packet instanceof Publish)
      .map((publish) => publish.payload.toString())
  }

  /** Acknowledges a QoS 1 message. */
  puback(packetId: number): void {
    this.send({ type: PacketType.puback, packetId, reasonCode: 0, properties: undefined })
  }

  /** The network goes away without a DISCONNECT. */
  drop(): void {
    this.link.close()
    this.#broker.settle()
  }

  disconnect(): void {
    this.send({ type: PacketType.disconnect, reasonCode: 0, properties: undefined })
    this.link.close()
    this.#broker.settle()
  }

  #read(): void {
    this.#frames.push(this.link.take())
    while (this.#frames.next()) {
      const { header, bytes, start, end } = this.#frames
      if (header >> 4 === PacketType.publish) {
        this.#inbox.push(decodePublish(bytes, start, end, header & 15, this.version, new TopicMemo()).own())
        continue
      }
      const packet = decodePacket(header, bytes, start, end, this.version)
      if (packet instanceof PacketFault) throw packet
      this.#inbox.push(packet)
    }
  }
}
