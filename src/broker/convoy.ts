/**
 * Messages of QoS 0 that travel together. What a client publishes to one topic comes many to a chunk and goes to the same
 * subscribers, most of whom are sent the same bytes: so the members of a convoy are looked up once, each message is
 * encoded once for all of them, and each member gets the bytes of all messages at once.
 *
 * A convoy forms and ends within the reading of one chunk, and ends as well before anything else is done that could reach
 * one of its members: order and bounds are those of messages that go one by one.
 */
import { OutputBuffer, passage } from '../protocol/output.ts'
import type { Version } from '../protocol/packet.ts'
import { encodePublish, type Publish } from '../protocol/packets/publish.ts'
import type { Counters } from './counters.ts'
import type { Delivery } from './deliver.ts'
import type { Outbox } from './outbox.ts'
import type { Recipient } from './router.ts'
import type { Session } from './session.ts'

const nobody: readonly Recipient[] = []

/** What a packet has at most beside topic and payload. */
const frameBytesMax = 8

export class Convoy {
  readonly #delivery: Delivery
  readonly #counters: Counters
  /** Of the message before. */
  #recipients = nobody
  #publisher: Session | undefined
  #isFormed = false
  #messageCount = 0
  /** The packets that each member can be sent before it is too slow, and how large one may be. */
  #bytesLeft = 0
  #packetBytesMax = 0
  readonly #before5 = new Members(4)
  readonly #from5 = new Members(5)
  /** Those for whom each message must be looked at. */
  readonly #others: Recipient[] = []

  constructor(delivery: Delivery, counters: Counters) {
    this.#delivery = delivery
    this.#counters = counters
  }

  /** @returns false when the message must go by itself: everything before it has gone then */
  take(message: Publish, recipients: readonly Recipient[], publisher: Session | undefined): boolean {
    if (recipients !== this.#recipients || publisher !== this.#publisher) {
      this.settle()
      this.#recipients = recipients
      this.#publisher = publisher
      // To one subscriber a single message goes faster by itself.
      if (recipients.length < 2) return false
    }
    if (!passage.isOpen || !isPlain(message)) {
      this.settle()
      return false
    }
    const packetBytes = message.topicEnd - message.topicStart + message.payloadByteCount + frameBytesMax
    if (this.#bytesLeft <= 0) this.settle()
    if (!this.#isFormed && !this.#form()) return false
    if (packetBytes > this.#packetBytesMax) {
      this.settle()
      return false
    }
    this.#bytesLeft -= packetBytes
    this.#messageCount++
    message.isForMany = false
    this.#before5.add(message)
    this.#from5.add(message)
    const others = this.#others
    message.isForMany = others.length > 1
    for (let i = 0; i < others.length; i++) this.#delivery.now(others[i] as Recipient, message)
    return true
  }

  /** Its messages go on; the next one may form another. */
  settle(): void {
    if (!this.#isFormed) return
    this.#isFormed = false
    this.#counters.sentMessages += this.#messageCount * (this.#before5.count + this.#from5.count)
    this.#messageCount = 0
    this.#before5.settle()
    this.#from5.settle()
    this.#others.length = 0
  }

  /** The chunk was read. */
  end(): void {
    this.settle()
    this.#recipients = nobody
    this.#publisher = undefined
  }

  /** @returns false when somebody wants QoS 0 from the log */
  #form(): boolean {
    const recipients = this.#recipients
    for (let i = 0; i < recipients.length; i++) {
      const { session } = recipients[i] as Recipient
      if (session.lane !== undefined || (session.limits.keepsQos0 && session.isDurable)) return false
    }
    this.#isFormed = true
    this.#bytesLeft = Number.POSITIVE_INFINITY
    this.#packetBytesMax = Number.POSITIVE_INFINITY
    for (let i = 0; i < recipients.length; i++) {
      const recipient = recipients[i] as Recipient
      const { session } = recipient
      if (recipient.noLocal && session === this.#publisher) continue // [MQTT-3.8.3-3]
      const outbox = recipient.subscriptionIdentifiers === undefined ? session.attachment?.outbox : undefined
      if (outbox?.isPlain === true && outbox.canTake) this.#add(outbox)
      else this.#others.push(recipient)
    }
    return true
  }

  #add(outbox: Outbox): void {
    this.#bytesLeft = Math.min(this.#bytesLeft, outbox.byteCountLeft)
    this.#packetBytesMax = Math.min(this.#packetBytesMax, outbox.packetBytesMax)
    if (outbox.version === 5) this.#from5.join(outbox)
    else this.#before5.join(outbox)
  }
}

/** Members who are sent the same bytes. */
class Members {
  readonly #version: Version
  readonly #outboxes: Outbox[] = []
  /** For all of them; a single one is written to at once. */
  readonly #shared = new OutputBuffer()
  #output = this.#shared

  constructor(version: Version) {
    this.#version = version
  }

  get count(): number {
    return this.#outboxes.length
  }

  join(outbox: Outbox): void {
    this.#outboxes.push(outbox)
    this.#output = this.#outboxes.length === 1 ? outbox.output : this.#shared
  }

  add(message: Publish): void {
    if (this.#outboxes.length === 0) return
    encodePublish(this.#output, message, this.#version, 0, false, false, 0, undefined, Number.POSITIVE_INFINITY)
  }

  settle(): void {
    const outboxes = this.#outboxes
    if (outboxes.length > 1) {
      const pieces = this.#shared.take()
      for (let i = 0; i < outboxes.length; i++) (outboxes[i] as Outbox).share(pieces)
    } else if (outboxes.length === 1) {
      outboxes[0]?.written()
    }
    outboxes.length = 0
    this.#output = this.#shared
  }
}

/** Every member is sent it as it is. */
function isPlain({ retain, properties, expiresAtMs }: Publish): boolean {
  return !retain && properties === undefined && expiresAtMs === Number.POSITIVE_INFINITY
}
