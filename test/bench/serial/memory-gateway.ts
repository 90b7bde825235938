/**
 * A gateway in this process: the broker core with the memory store, a serial listener for each device on a line in
 * memory, and a subscriber that enters every message into its account. Runs in real or in virtual time.
 */
import { generate, type Packet, parser } from 'mqtt-packet'
import type { DeviceOptions } from '../../../firmware-sim/device.ts'
import { Cable } from '../../../firmware-sim/fleet/cable.ts'
import { Account } from '../../../firmware-sim/oracle/account.ts'
import { Delays } from '../../../firmware-sim/oracle/delays.ts'
import { decodeMessage } from '../../../firmware-sim/oracle/message.ts'
import { listenerPolicy } from '../../../src/adapters/auth-listener/policy.ts'
import { MemoryStore } from '../../../src/adapters/store-memory/store.ts'
import { Broker } from '../../../src/broker/broker.ts'
import { SerialListener, type SerialPortSettings } from '../../../src/gateway/serial-listener.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import { lanes } from '../../../src/ports/lane.ts'
import type { Link, LinkOwner } from '../../../src/ports/transport.ts'
import { MemorySerial } from '../../fakes/memory-serial.ts'
import { SeededRandom } from '../../fakes/seeded-random.ts'
import { roomyLane, silentLog, testSettings } from '../../fakes/test-broker.ts'
import { serialTraits } from '../../gateway/noisy-worlds.ts'

const settings = {
  ...testSettings,
  inflightMax: 1000,
  receiveMaximum: 1000,
  queueCountMax: 1_000_000,
  outputBytesMax: 100_000_000,
  laneLimits: lanes.map(() => ({ ...roomyLane, bytesMax: 1_000_000_000 })),
}

export interface Wired {
  readonly cable: Cable
  readonly account: Account
  readonly listener: SerialListener
}

export class MemoryGateway {
  readonly clock: Clock
  readonly devices: Wired[] = []
  readonly subscriber: MemorySubscriber
  readonly #broker: Broker
  readonly #listeners: SerialListener[] = []

  private constructor(clock: Clock, broker: Broker) {
    this.clock = clock
    this.#broker = broker
    this.subscriber = new MemorySubscriber(clock)
    this.subscriber.bind(broker.accept(this.subscriber, { ...serialTraits, name: 'collector' }))
  }

  static async start(clock: Clock): Promise<MemoryGateway> {
    const random = new SeededRandom(1)
    const store = new MemoryStore({ clock, random })
    const policy = {
      authenticator: listenerPolicy,
      authorizer: listenerPolicy,
      authenticationMethods: [],
      gate: undefined,
    }
    const broker = new Broker({ settings, clock, random, log: silentLog, store, ...policy })
    await broker.load(() => {})
    return new MemoryGateway(clock, broker)
  }

  /** Called now and then, as the composition root does. */
  tick(): void {
    this.#broker.tick()
  }

  /** A port of the gateway that looks for what is plugged into `driver`. */
  listen(settings: SerialPortSettings, driver: MemorySerial, seed: number): SerialListener {
    const random = new SeededRandom(seed)
    const parts = { driver, acceptor: this.#broker, clock: this.clock, random, log: silentLog }
    const listener = new SerialListener(settings, serialTraits, parts)
    listener.start()
    this.#listeners.push(listener)
    return listener
  }

  /** A device that is plugged in and not switched on. */
  add(options: DeviceOptions, seed: number, portionMs = 1): Wired {
    const { clock } = this
    const driver = new MemorySerial(clock)
    const cable: Cable = new Cable(options, { clock, seed, portionMs, write: (chunk) => driver.deliver(chunk) })
    driver.onWritten = (bytes) => cable.fromGateway(bytes)
    driver.plug()
    const line = { path: options.id, baudRate: options.baudRate, resetOnOpen: false }
    const listener = this.listen(line, driver, seed + 1)
    const account = new Account(options.id)
    account.acknowledged = cable.device.acknowledged
    account.resent = cable.device.resent
    const wired = { cable, account, listener }
    this.devices.push(wired)
    this.subscriber.expect(account)
    return wired
  }

  async stop(): Promise<void> {
    for (const { cable } of this.devices) cable.close()
    await Promise.all(this.#listeners.map((listener) => listener.stop()))
  }
}

/** A client on a link in memory that subscribes to everything with QoS 1. */
class MemorySubscriber implements Link {
  readonly remote = 'memory'
  readonly identity = undefined
  readonly bufferedByteCount = 0
  readonly delays = new Delays()
  arrivedCount = 0
  readonly dropped = new Map<string, number>()
  readonly #accounts = new Map<string, Account>()
  readonly #clock: Clock
  readonly #parser = parser({ protocolVersion: 4 })
  #owner: LinkOwner | undefined

  constructor(clock: Clock) {
    this.#clock = clock
    this.#parser.on('packet', (packet: Packet) => this.#onPacket(packet))
  }

  bind(owner: LinkOwner): void {
    this.#owner = owner
    this.#say({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clientId: 'collector',
      clean: true,
      keepalive: 0,
    })
  }

  expect(account: Account): void {
    this.#accounts.set(account.id, account)
  }

  async leave(): Promise<void> {
    // Scenarios in virtual time have no such fault.
  }

  comeBack(): void {
    // It was never away.
  }

  async close(): Promise<void> {
    // It ends with the broker.
  }

  send(pieces: readonly Buffer[]): void {
    for (const piece of pieces) this.#parser.parse(Buffer.from(piece))
  }

  pause(): void {
    // A link in memory has nothing to hold back.
  }

  resume(): void {
    // A link in memory has nothing to hold back.
  }

  end(): void {
    this.destroy()
  }

  destroy(): void {
    this.#clock.afterTurn(() => this.#owner?.onClosed(undefined))
  }

  #onPacket(packet: Packet): void {
    if (packet.cmd === 'connack') {
      this.#say({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '#', qos: 1 }] })
    } else if (packet.cmd === 'publish') {
      if (packet.qos > 0) this.#say({ cmd: 'puback', messageId: packet.messageId ?? 0 })
      this.#enter(Buffer.from(packet.payload))
    }
  }

  #enter(payload: Buffer): void {
    const message = decodeMessage(payload)
    const account = this.#accounts.get(message?.device ?? '')
    if (message === undefined || account === undefined) return
    if (!message.isWhole) account.corruptedCount++
    this.arrivedCount++
    const delayMs = Math.max(0, this.#clock.wallMs() - message.t)
    this.delays.add(delayMs)
    account.arrive(message.n, delayMs)
  }

  /** Never inside a call of the broker. */
  #say(packet: Packet): void {
    this.#clock.afterTurn(() => this.#owner?.receive(generate(packet)))
  }
}
