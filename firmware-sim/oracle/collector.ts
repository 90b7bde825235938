/**
 * The other end of a run: a subscriber at the broker that enters every message of a simulated device into its account.
 * Its session is durable unless told otherwise, so that it misses nothing while the broker is away.
 */
import { randomUUID } from 'node:crypto'
import mqtt, { type MqttClient } from 'mqtt'
import type { Account } from './account.ts'
import { BrokerLedger, lossTopic } from './broker-ledger.ts'
import { Delays } from './delays.ts'
import { decodeMessage } from './message.ts'

const sessionExpirySeconds = 600
const reconnectMs = 250

/** A run whose messages are collected. */
export interface Collected {
  readonly scenario: {
    readonly filter: string
    /** With a session that outlives a restart of the broker. */
    readonly durable_subscriber: boolean
  }
  readonly accounts: readonly Account[]
}

export class Collector {
  readonly delays = new Delays()
  /** Messages that no device of this run sent. */
  strangerCount = 0
  arrivedCount = 0
  readonly #accounts = new Map<string, Account>()
  readonly #client: MqttClient
  readonly #ledger: BrokerLedger
  #reconnectCount = 0

  private constructor(client: MqttClient, accounts: readonly Account[]) {
    this.#client = client
    this.#ledger = new BrokerLedger(String(client.options.clientId))
    for (const account of accounts) this.#accounts.set(account.id, account)
    client.on('message', (topic, payload, { retain }) => {
      if (topic === lossTopic) this.#ledger.read(payload, retain)
      else this.#enter(payload)
    })
    client.on('reconnect', () => this.#reconnectCount++)
  }

  /** Resolves once it is subscribed with QoS 1 to what the scenario says. */
  static async subscribe(url: string, { scenario, accounts }: Collected): Promise<Collector> {
    const { filter, durable_subscriber: isDurable } = scenario
    const client = await mqtt.connectAsync(url, {
      clientId: `collector-${randomUUID()}`,
      protocolVersion: 5,
      clean: !isDurable,
      reconnectPeriod: reconnectMs,
      properties: { sessionExpiryInterval: isDurable ? sessionExpirySeconds : 0, receiveMaximum: 1000 },
    })
    client.on('error', () => {
      // It comes back by itself; what is missing then is in the accounts.
    })
    const collector = new Collector(client, accounts)
    await client.subscribeAsync([filter, lossTopic], { qos: 1 })
    return collector
  }

  /** What the broker dropped on purpose, by its own account. */
  get dropped(): ReadonlyMap<string, number> {
    return this.#ledger.countByReason
  }

  /** The connection is cut, and stays away. */
  async leave(): Promise<void> {
    await this.#client.endAsync(true)
  }

  comeBack(): void {
    this.#client.reconnect()
  }

  /** Leaves without a trace: the session ends too. */
  async close(): Promise<void> {
    if (this.#client.connected) await this.#client.endAsync(false, { properties: { sessionExpiryInterval: 0 } })
    else await this.#client.endAsync(true)
  }

  #enter(payload: Buffer): void {
    const message = decodeMessage(payload)
    const account = this.#accounts.get(message?.device ?? '')
    if (message === undefined || account === undefined) {
      this.strangerCount++
      return
    }
    if (!message.isWhole) {
      account.corruptedCount++
      return
    }
    const delayMs = Math.max(0, Date.now() - message.t)
    this.arrivedCount++
    this.delays.add(delayMs)
    account.arrive(message.n, delayMs, this.#reconnectCount)
  }
}
