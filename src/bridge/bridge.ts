/**
 * One bridge: a durable session of the local broker joined to an uplink. The session's log and cursor are the store
 * and forward; nothing is queued here. A message leaves the log when the remote broker has acknowledged it, and while
 * the uplink is away nothing moves.
 *
 *   local session --deliver--> number, map topic --> uplink        uplink --onMessage--> map topic --> local publish
 *        ^---- acknowledge ----------- PUBACK <-------+                 +<-- PUBACK once the local commit is durable
 */
import { RingQueue } from '../lib/ring-queue.ts'
import type { Clock } from '../ports/clock.ts'
import type { GateLink, LocalBroker, LocalConsumer, LocalSession } from '../ports/local.ts'
import type { Log } from '../ports/log.ts'
import type { Seq, Ticket } from '../ports/store.ts'
import { Numbering } from '../protocol/numbering.ts'
import { type AckType, PacketType, type PublishProperties, type Qos } from '../protocol/packet.ts'
import { Publish } from '../protocol/packets/publish.ts'
import { ReasonCode, reasonName } from '../protocol/reason.ts'
import type { DeviceList } from './devices.ts'
import { Herald, type HeraldSettings } from './herald.ts'
import { Mapping, type MappingRule } from './mapping.ts'
import type { Marks } from './marks.ts'
import type { GatewayReceiver } from './receiver.ts'
import { subscriptionsFor } from './remote-subscriptions.ts'
import { Starter, type StarterSettings } from './starter.ts'
import type { Greeting, RemoteSide, Uplink, UplinkOwner, UplinkState } from './uplink.ts'

export interface BridgeSettings extends HeraldSettings, StarterSettings {
  readonly inflightMax: number
  readonly out: readonly MappingRule[]
  readonly in: readonly MappingRule[]
}

export interface BridgeStatus {
  readonly name: string
  readonly state: UplinkState
  /** Messages in the log that the remote broker has not acknowledged: an upper bound. */
  readonly backlogCount: number
  readonly forwardedCount: number
  readonly receivedCount: number
  /** Messages the remote broker will not have, whatever we do. */
  readonly rejectedCount: number
  readonly roundTripMs: number
}

export class Bridge implements LocalConsumer, UplinkOwner {
  readonly #settings: BridgeSettings
  readonly #epoch: string
  readonly #log: Log
  readonly #clock: Clock
  readonly #marks: Marks
  readonly #receiver: GatewayReceiver
  readonly #numbering: Numbering
  #out: Mapping
  #in: Mapping
  readonly #uplink: Uplink
  readonly #session: LocalSession
  readonly #herald: Herald
  readonly #starter: Starter
  /** Acknowledgements to the remote side that wait for the local commit. */
  readonly #acks: RingQueue<{ readonly ticket: Ticket; readonly packetId: number; readonly type: AckType }>
  readonly #devices: DeviceList | undefined
  /** The connection, as the receiving end of numbered messages. */
  #gate: GateLink
  /** The last message that the remote side is known to have. */
  #ackedSeq: Seq
  #isPeer = false
  #forwardedCount = 0
  #receivedCount = 0
  #rejectedCount = 0

  /**
   * @param parts.devices told to a remote side that is a Tidegate
   * @param parts.epoch identity of the local log
   * @param parts.receiver recognises what the remote side sends again
   * @param parts.makeUplink called once with the owner to report to
   */
  constructor(parts: {
    settings: BridgeSettings
    epoch: string
    log: Log
    clock: Clock
    receiver: GatewayReceiver
    local: LocalBroker
    marks: Marks
    devices: DeviceList | undefined
    makeUplink: (owner: UplinkOwner) => Uplink
  }) {
    this.#settings = parts.settings
    this.#epoch = parts.epoch
    this.#log = parts.log
    this.#clock = parts.clock
    this.#marks = parts.marks
    this.#receiver = parts.receiver
    this.#gate = this.#openGate()
    const acked = parts.marks.get(this.#ackedKey)
    this.#ackedSeq = acked?.epoch === parts.epoch ? acked.seq : 0
    this.#numbering = new Numbering(parts.epoch, 0, this.#ackedSeq, parts.settings.inflightMax)
    this.#out = new Mapping(parts.settings.out, 'out')
    this.#in = new Mapping(parts.settings.in, 'in')
    this.#acks = new RingQueue(65_535)
    this.#devices = parts.devices
    this.#devices?.onChange(() => this.#tellDevices())
    this.#herald = new Herald(parts.settings, parts.epoch, parts.marks)
    this.#uplink = parts.makeUplink(this)
    this.#session = parts.local.openSession(`$bridge/${parts.settings.name}`, this)
    this.#session.numbering = this.#numbering
    this.#subscribe()
    const bridge = this
    this.#starter = new Starter(parts.settings, parts.clock, {
      get isStopped() {
        return bridge.#uplink.state === 'stopped'
      },
      get backlogCount() {
        return bridge.#session.backlogCount
      },
      get messageCount() {
        return bridge.#forwardedCount + bridge.#receivedCount
      },
      connect: () => this.#uplink.start(),
      disconnect: () => this.#disconnect(),
    })
  }

  /** New rules for what crosses: both sides are asked only for what differs. */
  map(rules: { readonly out: readonly MappingRule[]; readonly in: readonly MappingRule[] }): void {
    this.#out = new Mapping(rules.out, 'out')
    this.#in = new Mapping(rules.in, 'in')
    this.#subscribe()
    this.#uplink.subscribe(subscriptionsFor(rules.in))
  }

  #subscribe(): void {
    this.#session.subscribe(
      this.#out.subscriptions.map(({ topicFilter, qos }) => ({
        topicFilter,
        qos,
        // What came in over this bridge does not go back over it.
        noLocal: true,
        retainAsPublished: true,
        retainHandling: 2 as const,
      })),
    )
  }

  get status(): BridgeStatus {
    return {
      name: this.#settings.name,
      state: this.#uplink.state,
      backlogCount: this.#session.backlogCount,
      forwardedCount: this.#forwardedCount,
      receivedCount: this.#receivedCount,
      rejectedCount: this.#rejectedCount,
      roundTripMs: this.#uplink.roundTripMs,
    }
  }

  start(): void {
    this.#starter.start()
  }

  /**
   * Tells the remote side that this gateway is being worked on, so that nobody is alarmed.
   * @param until UTC, for people; undefined ends it
   */
  announceMaintenance(until: string | undefined): void {
    this.#tell(this.#herald.tell(until === undefined ? 'online' : 'maintenance', until))
    if (until === undefined) this.#tellDevices()
  }

  stop(): void {
    this.#starter.stop()
  }

  #disconnect(): void {
    if (this.#uplink.state === 'online') this.#tell(this.#herald.tell('stopped'))
    this.#uplink.stop()
  }

  // ---- local -> remote ----

  get canTake(): boolean {
    return this.#uplink.canTake
  }

  /** Towards a Tidegate messages have numbers in place of a QoS 2 handshake. */
  get outlivesUs(): boolean {
    return !this.#isPeer
  }

  deliver(message: Publish, qos: Qos, retain: boolean, dup: boolean, packetId: number, seq: Seq): void {
    const topic = this.#out.map(message.topic)
    if (topic === undefined) {
      // Subscribed by an earlier configuration, and waiting in the log since.
      this.#session.acknowledge(packetId)
      return
    }
    const mapped = topic === message.topic ? message : message.withTopic(topic)
    const properties = this.#propertiesFor(message, packetId, seq)
    const ruled = this.#out.qosOf(message.topic, qos)
    const sentQos = ruled === 2 && this.#isPeer ? 1 : ruled
    if (this.#uplink.publish(mapped, sentQos, retain, dup, packetId, properties)) {
      this.#forwardedCount++
      return
    }
    this.#numbering.retract(seq, packetId, 'too_large')
    this.#reject(message.topic, packetId, 'larger than the remote broker takes')
  }

  #propertiesFor(message: Publish, packetId: number, seq: Seq): PublishProperties | undefined {
    const isExpiring = message.expiresAtMs !== Number.POSITIVE_INFINITY
    if (seq === 0 && !isExpiring) return message.properties
    const number = seq === 0 ? undefined : this.#numbering.number(seq, packetId)
    return {
      ...message.properties,
      ...(number && { userProperties: [...(message.properties?.userProperties ?? []), ...number] }),
      ...(isExpiring && { messageExpiryInterval: this.#secondsLeft(message) }), // [MQTT-3.3.2-6]
    }
  }

  #secondsLeft({ expiresAtMs }: Publish): number {
    return Math.max(0, Math.ceil((expiresAtMs - this.#clock.nowMs()) / 1000))
  }

  onPubrec(packetId: number): void {
    this.#session.received(packetId)
  }

  release(packetId: number): void {
    this.#uplink.release(packetId)
  }

  onPuback(packetId: number, reasonCode: ReasonCode): void {
    if (reasonCode < 0x80) {
      this.#ackedSeq = Math.max(this.#ackedSeq, this.#numbering.seqOf(packetId))
      this.#session.acknowledge(packetId)
    } else if (isTemporary(reasonCode)) {
      // The remote side has no room just now; the message stays where it is and is sent again after the back-off.
      this.#uplink.retreat(`remote broker answers ${reasonName(reasonCode)}`)
    } else {
      this.#reject('', packetId, reasonName(reasonCode))
    }
  }

  #reject(topic: string, packetId: number, why: string): void {
    this.#rejectedCount++
    this.#log.warn({ topic, packetId, err: why }, 'message rejected by the remote broker')
    if (packetId !== 0) this.#session.refuse(packetId)
  }

  greet(): Greeting {
    this.#acks.clear()
    this.#gate = this.#openGate()
    return this.#herald.greet()
  }

  #openGate(): GateLink {
    return this.#receiver.open(undefined, `$bridge/${this.#settings.name}`)
  }

  get #ackedKey(): string {
    return `bridge/${this.#settings.name}/acked`
  }

  /** After a restart, what is sent next says that it follows this one. It may be older than the truth, never newer. */
  #saveAcked(): void {
    if (this.#ackedSeq > 0) this.#marks.set(this.#ackedKey, { epoch: this.#epoch, seq: this.#ackedSeq })
  }

  #tellDevices(): void {
    if (this.#devices === undefined || !this.#isPeer || this.#uplink.state !== 'online') return
    this.#tell(Publish.create({ topic: '$bridge/devices', payload: this.#devices.toJson() }))
  }

  #tell(news: Publish | undefined): void {
    if (news !== undefined) this.#uplink.publish(news, 0, news.retain, false, 0, news.properties)
  }

  onOnline({ inflightMax, isPeer, isSessionPresent }: RemoteSide): void {
    this.#isPeer = isPeer
    if (!isSessionPresent) this.#session.forgetIncoming()
    this.#tell(this.#herald.tell('online'))
    this.#tellDevices()
    const count = this.#session.backlogCount
    if (count > 0) this.#log.info({ count }, 'backlog goes out')
    this.#session.attach(inflightMax)
  }

  onOffline(): void {
    this.#saveAcked()
    this.#session.detach()
  }

  onDrain(): void {
    this.#session.resume()
  }

  // ---- remote -> local ----

  onMessage(message: Publish): void {
    this.#receivedCount++
    const { packetId, qos } = message
    const session = this.#session
    const topic = this.#in.map(message.topic)
    const mapped = topic === undefined ? undefined : message.withTopic(topic)
    if (qos > 0 && mapped !== undefined && !session.canPublish(mapped)) {
      // Nothing may be recognised later that is refused now.
      this.#uplink.retreat('the local store takes nothing now')
      return
    }
    const admission = qos === 0 ? 'unnumbered' : this.#gate.admit(mapped ?? message)
    const ticket = mapped === undefined || admission === 'again' ? 0 : session.publish(mapped)
    if (packetId === 0) return
    // A numbered message is acknowledged once it is known that it came.
    const due = admission === 'unnumbered' ? ticket : session.openTicket
    if (due === undefined || admission === 'wait') this.#uplink.retreat('the local store takes nothing now')
    else this.#acknowledge(packetId, qos === 2 ? PacketType.pubrec : PacketType.puback, due)
  }

  onPubrel(packetId: number): void {
    this.#acknowledge(packetId, PacketType.pubcomp, this.#session.released(packetId))
  }

  /** In the order of what is acknowledged, each once its commit is durable. */
  #acknowledge(packetId: number, type: AckType, ticket: Ticket): void {
    if (ticket === 0 && this.#acks.length === 0) this.#uplink.acknowledge(packetId, type)
    else this.#acks.push({ ticket, packetId, type })
  }

  onDurable(ticket: Ticket): void {
    for (let next = this.#acks.peek(); next !== undefined && next.ticket <= ticket; next = this.#acks.peek()) {
      this.#acks.shift()
      this.#uplink.acknowledge(next.packetId, next.type)
    }
  }
}

function isTemporary(reasonCode: ReasonCode): boolean {
  switch (reasonCode) {
    case ReasonCode.quotaExceeded:
    case ReasonCode.messageRateTooHigh:
    case ReasonCode.serverBusy:
    case ReasonCode.serverUnavailable:
    case ReasonCode.unspecifiedError:
    case ReasonCode.implementationSpecificError:
    case ReasonCode.packetIdentifierInUse:
      return true
    default:
      return false
  }
}
