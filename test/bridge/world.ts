/** An edge and a cloud broker with a bridge between them, on one virtual clock; each can crash and come back. */
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { Bridge } from '../../src/bridge/bridge.ts'
import { DeviceList } from '../../src/bridge/devices.ts'
import { Fleet } from '../../src/bridge/fleet.ts'
import type { MappingRule } from '../../src/bridge/mapping.ts'
import { Marks } from '../../src/bridge/marks.ts'
import { type Gap, GatewayReceiver } from '../../src/bridge/receiver.ts'
import { bridgeSubscriptions, subscriptionsFor } from '../../src/bridge/remote-subscriptions.ts'
import { responseSubscription } from '../../src/bridge/responses.ts'
import type { StarterSettings } from '../../src/bridge/starter.ts'
import { Uplink, type UplinkSettings } from '../../src/bridge/uplink.ts'
import type { BrokerSettings } from '../../src/broker/settings.ts'
import { Backoff } from '../../src/lib/backoff.ts'
import type { DelayHolder } from '../../src/ports/delayed-ahead.ts'
import type { Store, StoreOwner } from '../../src/ports/store.ts'
import type { Dialer, ListenerTraits } from '../../src/ports/transport.ts'
import type { Connect } from '../../src/protocol/packet.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { TestFilterMemory } from '../fakes/filter-memory.ts'
import { overlaid } from '../fakes/overlaid.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { storeOwner } from '../fakes/store-ends.ts'
import { silentLog, TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'
import { Wire } from '../fakes/wire.ts'

export const gatewayTraits: ListenerTraits = {
  name: 'tls',
  mountpoint: 'g/{identity}/',
  requireIdentity: true,
  allowAnonymous: false,
  acceptsGateways: true,
}

export const everything: MappingRule = { filter: '#', qos: 1, localPrefix: '', remotePrefix: '' }

export const durable = (clientId: string): Connect & { clientId: string } =>
  ({ clientId, version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } }) as Connect

/** One gateway under one cloud; each can crash and come back over what was durable. */
export class World {
  readonly #options: Options
  readonly clock = new VirtualClock()
  readonly random = new SeededRandom(7)
  /** Another one is a gateway that lost what it had. */
  edgeDisk = new MemoryDisk()
  readonly cloudDisk = new MemoryDisk()
  readonly wire: Wire
  readonly uplinkSettings: UplinkSettings
  readonly memory = new TestFilterMemory()
  readonly out: readonly MappingRule[]
  readonly in: readonly MappingRule[]
  edge!: TestBroker
  cloud!: TestBroker
  bridge!: Bridge
  fleet!: Fleet
  cloudReceiver!: GatewayReceiver
  edgeReceiver!: GatewayReceiver
  /** Everything that either side missed, over all restarts. */
  readonly cloudGaps: Gap[] = []
  readonly edgeGaps: Gap[] = []

  readonly starter: Partial<StarterSettings>

  private constructor(options: Options) {
    this.#options = options
    this.starter = options.starter ?? {}
    this.out = options.out ?? [everything]
    this.in = options.in ?? []
    this.wire = new Wire({
      clock: this.clock,
      delayMs: options.delayMs ?? 20,
      identity: options.isAnonymous ? undefined : 'gw1',
      traits: options.traits ?? gatewayTraits,
      acceptor: undefined,
    })
    this.uplinkSettings = {
      clientId: 'edge-gw1',
      keepAliveSeconds: 60,
      sessionExpirySeconds: 3600,
      inflightMax: 16,
      packetBytesMax: 65_536,
      outputBytesMax: 65_536,
      connectTimeoutMs: 5000,
      ackTimeoutMs: 10_000,
      username: undefined,
      password: undefined,
      protocol: 'auto',
      returnMs: 60_000,
      isOnce: false,
      peerSubscriptions: [...bridgeSubscriptions, responseSubscription({ clientId: 'edge-gw1' })],
      subscriptions: subscriptionsFor(this.in),
      ...options.uplink,
    }
  }

  static async make(options: Options = {}): Promise<World> {
    const world = new World(options)
    await world.startCloud()
    await world.startEdge()
    return world
  }

  async startCloud(): Promise<void> {
    const { clock, random, cloudDisk } = this
    const store = (this.#options.cloudStore ?? itself)(new MemoryStore({ clock, random, disk: cloudDisk }))
    const marks = marksOf(store, cloudDisk)
    this.cloudReceiver = new GatewayReceiver(marks, clock)
    this.cloudReceiver.onGap = (gap) => {
      this.cloudGaps.push(gap)
      this.fleet.onGap(gap)
    }
    this.cloud = await TestBroker.start({ clock, store, gate: this.cloudReceiver, settings: this.#options.cloud ?? {} })
    this.fleet = new Fleet({ local: this.cloud.broker, alarms: this.cloud.broker.alarms, marks, clock, log: silentLog })
    this.fleet.start()
    this.wire.acceptor = this.cloud.broker
  }

  async startEdge(): Promise<void> {
    const { clock, random, edgeDisk } = this
    const store = (this.#options.edgeStore ?? itself)(new MemoryStore({ clock, random, disk: edgeDisk }))
    const marks = marksOf(store, edgeDisk)
    this.edge = await TestBroker.start({ clock, store, settings: { sys: edgeSys, ...this.#options.edge } })
    this.edgeReceiver = new GatewayReceiver(marks, clock)
    this.edgeReceiver.onGap = (gap) => this.edgeGaps.push(gap)
    const devices = new DeviceList({ local: this.edge.broker, clock, nodeName: edgeSys.nodeName })
    this.bridge = new Bridge({
      settings: {
        name: 'up',
        clientId: 'edge-gw1',
        notifications: true,
        lostAfterSeconds: 30,
        inflightMax: 16,
        rateMax: 0,
        probeSeconds: this.#options.probeSeconds ?? 3600,
        stuckSeconds: 20,
        startType: 'automatic',
        threshold: 10,
        idleTimeoutSeconds: 60,
        ownResponseTopics: false,
        delayedHolder: this.#options.delayedHolder ?? 'edge',
        ...this.starter,
        out: this.out,
        in: this.in,
      },
      epoch: edgeDisk.epoch ?? '',
      log: silentLog,
      clock,
      local: this.edge.broker,
      receiver: this.edgeReceiver,
      marks,
      alarms: this.edge.broker.alarms,
      devices,
      makeUplink: (owner) =>
        new Uplink({
          settings: this.uplinkSettings,
          dialers: [this.#options.dialer?.(clock) ?? this.wire],
          memory: this.memory,
          clock,
          backoff: new Backoff(1000, 10_000, () => random.next()),
          log: silentLog,
          owner,
        }),
    })
    this.bridge.start()
  }

  /** The process is gone in an instant, with everything that was not durable. */
  async crashEdge(): Promise<void> {
    this.edge.store.bind(storeOwner())
    this.bridge.stop()
    this.wire.cut()
    await this.startEdge()
  }

  async crashCloud(): Promise<void> {
    this.cloud.store.bind(storeOwner())
    this.wire.acceptor = undefined
    this.wire.cut()
    await this.startCloud()
  }

  passMs(durationMs: number): void {
    for (let leftMs = durationMs; leftMs > 0; leftMs -= 50) {
      this.clock.advanceMs(50)
      this.edge.broker.tick()
      this.cloud.broker.tick()
    }
  }
}

export interface Options {
  out?: readonly MappingRule[]
  in?: readonly MappingRule[]
  uplink?: Partial<UplinkSettings>
  starter?: Partial<StarterSettings>
  traits?: ListenerTraits
  cloudStore?: (store: Store) => Store
  edgeStore?: (store: Store) => Store
  edge?: Partial<BrokerSettings>
  cloud?: Partial<BrokerSettings>
  delayedHolder?: DelayHolder
  /** Never, unless given. */
  probeSeconds?: number
  /** One way of the wire. */
  delayMs?: number
  /** Another remote side than the cloud. */
  dialer?: (clock: VirtualClock) => Dialer
  /** The gateway shows no certificate. */
  isAnonymous?: boolean
}

/** A durable subscriber that acknowledges everything and keeps the payloads in order. */
export class Collector {
  readonly payloads: string[] = []
  readonly topics: string[] = []
  #client: TestClient

  constructor(broker: TestBroker, filter: string) {
    this.#client = broker.connect(durable('collector'))
    this.#client.subscribe(filter, { qos: 1 })
  }

  collect(): this {
    for (;;) {
      const messages = this.#client.takeAll().filter((packet) => packet instanceof Publish)
      if (messages.length === 0) return this
      for (const message of messages) {
        this.payloads.push(message.payload.toString())
        this.topics.push(message.topic)
        if (message.qos > 0) this.#client.puback(message.packetId)
      }
    }
  }

  moveTo(broker: TestBroker): void {
    this.#client = broker.connect(durable('collector'))
  }
}

export function publishMany(client: TestClient, from: number, to: number): void {
  for (let n = from; n <= to; n++) client.publish('temp', String(n), { qos: 1, packetId: (n % 1000) + 1 })
}

export const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => String(from + i))

const itself = (store: Store): Store => store

const edgeSys = { nodeName: 'gw1', version: '0', intervalMs: 60_000, heartbeatMs: 30_000, withMosquitto: false }

function marksOf(store: Store, disk: MemoryDisk): Marks {
  const marks = new Marks(store.marks)
  for (const [key, mark] of disk.marks) marks.restore(key, mark)
  return marks
}

/**
 * Store that notes the payload of every message that became durable, in order: what a broker took, whoever reads it.
 * Use with `cloudStore` or `edgeStore`, also after a crash.
 */
export function noting(taken: string[]): (store: Store) => Store {
  return (store) => {
    const open: { readonly ticket: number; readonly payload: string }[] = []
    const log = overlaid(store.log, {
      append: (publish: Publish, ...rest: []) => {
        const seq = store.log.append(publish, ...rest)
        open.push({ ticket: store.lastTicket, payload: publish.payload.toString() })
        return seq
      },
    })
    const bind = (owner: StoreOwner) =>
      store.bind({
        onDurable: (ticket) => {
          while (open[0] !== undefined && open[0].ticket <= ticket) taken.push(open.shift()?.payload ?? '')
          owner.onDurable(ticket)
        },
        onFailure: (failure) => owner.onFailure(failure),
        onRecovered: () => owner.onRecovered(),
      })
    return overlaid(store, { log, bind })
  }
}

/** A store that can be made to take nothing. */
export function gated(store: Store, gate: { readonly isWritable: boolean }): Store {
  return overlaid(store, {
    get isWritable() {
      return gate.isWritable
    },
  })
}
