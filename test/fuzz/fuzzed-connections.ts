/**
 * Whole connections against one broker that lives through all of them: packets that make sense, in order and out of it,
 * mutated, cut into any chunks, from clients that take over from one another, stop reading, or vanish.
 *
 * After each connection a fresh client must be served; whatever the broker sends must be a legal packet; and when all
 * sessions have ended nothing may be left.
 */

import type { AuthenticationMethod } from '../../src/ports/auth.ts'
import { FrameDecoder } from '../../src/protocol/frame.ts'
import { PacketType, type Version } from '../../src/protocol/packet.ts'
import { peekVersion } from '../../src/protocol/packets/connect.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { faultOf } from '../fixtures/wire.ts'
import { authenticationMethod, FuzzedPackets } from './fuzzed-packets.ts'

/** Processor time that a fresh client may cost: how long it waits where nothing else runs. */
const serveMsMax = 100

const sessionSecondsMax = 10

export type Fuzzed = {
  readonly packetCount: number
  readonly connectionCount: number
  readonly faultCount: number
  readonly slowestServeMs: number
}

export class FuzzedConnections {
  readonly #broker: TestBroker
  readonly #packets: FuzzedPackets
  readonly #random: SeededRandom
  #packetCount = 0
  #connectionCount = 0
  #slowestServeMs = 0
  /** Clients whose connections stay open for a while, so that others meet them. */
  #lingering: TestClient[] = []

  private constructor(broker: TestBroker, random: SeededRandom) {
    this.#broker = broker
    this.#random = random
    this.#packets = new FuzzedPackets(random)
  }

  static async start(seed: number): Promise<FuzzedConnections> {
    const random = new SeededRandom(seed)
    const broker = await TestBroker.start({
      authenticationMethods: [stepsOf(random)],
      settings: {
        packetBytesMax: 5000,
        outputBytesMax: 20_000,
        sessionExpirySecondsMax: sessionSecondsMax,
        sessionExpirySecondsV3: sessionSecondsMax,
        backlogCountMax: 500,
        sys: { nodeName: 'fuzz', version: '0', intervalMs: 1000, heartbeatMs: 1000, withMosquitto: true },
      },
    })
    return new FuzzedConnections(broker, random)
  }

  /** Goes on until so many packets were sent. Throws what the broker throws, and an Error when it is hurt. */
  run(packetCount: number): Fuzzed {
    const until = this.#packetCount + packetCount
    while (this.#packetCount < until) {
      this.#connection()
      this.#serveFreshClient()
      if (this.#packets.oneIn(40)) this.#broker.passMs(this.#packets.pick([100, 1500]))
    }
    return {
      packetCount: this.#packetCount,
      connectionCount: this.#connectionCount,
      faultCount: this.#broker.broker.counters.faults,
      slowestServeMs: this.#slowestServeMs,
    }
  }

  /** Everybody leaves and every session ends. Answers what is left of them, in words. */
  end(): string[] {
    for (const client of this.#lingering) client.drop()
    this.#lingering = []
    this.#broker.passMs((sessionSecondsMax + 5) * 1000)
    const watcher = this.#broker.connect({ clientId: 'watcher' })
    watcher.subscribe('$SYS/broker/subscriptions/count')
    this.#broker.passMs(2000)
    const subscriptions = watcher.takePayloads().at(-1)
    watcher.disconnect()
    const { connectionCount, sessionCount } = this.#broker.broker.counters
    const { messageCount } = this.#broker.store.log
    const left: string[] = []
    if (connectionCount !== 0) left.push(`${connectionCount} connections`)
    if (sessionCount !== 0) left.push(`${sessionCount} sessions`)
    if (messageCount !== 0) left.push(`${messageCount} messages in the log`)
    if (subscriptions !== '1') left.push(`${subscriptions} subscriptions, one of them the watcher's`)
    return left
  }

  #connection(): void {
    this.#connectionCount++
    const packets = this.#packets
    const version = packets.pick([3, 4, 4, 5, 5, 5] as const)
    const client = this.#broker.open()
    const conversation = new Conversation(client, this.#random)
    if (!packets.oneIn(25)) this.#send(conversation, packets.connect(version), 12)
    for (let count = this.#random.below(50); count > 0 && conversation.isOpen; count--) {
      const answers = conversation.answers(packets)
      for (const answer of answers) this.#send(conversation, answer, 60)
      this.#send(conversation, packets.oneIn(80) ? packets.stray() : packets.packet(version), 20)
      if (packets.oneIn(60)) client.link.isStuck = true
      if (packets.oneIn(30)) client.link.unstick()
      if (packets.oneIn(300)) this.#broker.passMs(packets.pick([100, 2000]))
    }
    conversation.answers(packets)
    if (packets.oneIn(4) && conversation.isOpen) this.#lingering.push(client)
    else client.drop()
    while (this.#lingering.length > 5) this.#lingering.shift()?.drop()
  }

  /** @param mutatedOneIn how many are sent as they are for each that is broken */
  #send(conversation: Conversation, frame: Buffer, mutatedOneIn: number): void {
    this.#packetCount++
    conversation.send(this.#packets.oneIn(mutatedOneIn) ? this.#packets.mutated(frame) : frame)
  }

  /** A collection of garbage may fall into one, and not into three in a row. */
  #serveFreshClient(): void {
    let ms = this.#serveMs()
    for (let tries = 1; tries < 3 && ms > serveMsMax; tries++) ms = Math.min(ms, this.#serveMs())
    if (ms > serveMsMax) throw new Error(`a fresh client waited ${ms} ms`)
    if (ms > this.#slowestServeMs) this.#slowestServeMs = ms
  }

  /** Time passed or processor time, whichever is less: other work on the machine may take the processor away. */
  #serveMs(): number {
    const startedAtMs = performance.now()
    const startedWith = process.cpuUsage()
    const client = this.#broker.connect({ clientId: 'fresh', version: 5 })
    client.subscribe('fresh/topic', { qos: 1 })
    client.publish('fresh/topic', 'served', { qos: 1 })
    const isServed = client.takePayloads().includes('served')
    client.disconnect()
    if (!isServed) throw new Error('a fresh client was not served')
    const { user, system } = process.cpuUsage(startedWith)
    return Math.min(performance.now() - startedAtMs, (user + system) / 1000)
  }
}

/** What one fuzzed client and the broker said to each other. */
class Conversation {
  readonly #client: TestClient
  readonly #random: SeededRandom
  /** Sees the stream as the broker does, up to its first packet, which says what the answers are written in. */
  readonly #frames = new FrameDecoder(5000)
  #isVersionKnown = false

  constructor(client: TestClient, random: SeededRandom) {
    this.#client = client
    this.#random = random
  }

  get isOpen(): boolean {
    return !this.#client.link.isEnded && !this.#client.link.isDestroyed
  }

  send(bytes: Buffer): void {
    if (!this.#isVersionKnown) this.#learnVersion(bytes)
    let at = 0
    while (at < bytes.length && this.isOpen) {
      const end = this.#random.below(4) === 0 ? at + 1 + this.#random.below(bytes.length) : bytes.length
      this.#client.sendBytes(bytes.subarray(at, end))
      at = end
    }
  }

  /** Reads what the broker sent, which must be legal, and answers it. */
  answers(packets: FuzzedPackets): Buffer[] {
    const { version } = this.#client
    return this.#client
      .takeAll()
      .flatMap((packet) => packets.answer(packet as Parameters<FuzzedPackets['answer']>[0], version) ?? [])
  }

  #learnVersion(bytes: Buffer): void {
    const fault = faultOf(() => {
      this.#frames.push(bytes)
      if (!this.#frames.next()) return
      const { header, bytes: whole, start, end } = this.#frames
      const version: Version | undefined =
        header >> 4 === PacketType.connect ? peekVersion(whole, start, end) : undefined
      this.#client.version = version ?? 4
      this.#isVersionKnown = true
    })
    if (fault !== undefined) this.#isVersionKnown = true
  }
}

/** A method that asks, lets in and refuses as the seed has it. */
function stepsOf(random: SeededRandom): AuthenticationMethod {
  return {
    name: authenticationMethod,
    begin: () => ({
      step(_data, answer) {
        const kind = random.below(4)
        if (kind < 2) answer({ kind: 'challenge', data: kind === 0 ? undefined : Buffer.from('who?') })
        else if (kind === 2) answer({ kind: 'proved', username: 'somebody', data: undefined })
        else answer({ kind: 'refused', reasonCode: ReasonCode.notAuthorized, why: 'not today' })
      },
    }),
  }
}
