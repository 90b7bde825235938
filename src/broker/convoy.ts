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
import { encodePublish, leavesAsItCame, type Publish } from '../protocol/packets/publish.ts'
import { variableByteCount } from '../protocol/variable-byte-integer.ts'
import type { Counters } from './counters.ts'
import type { Delivery } from './deliver.ts'
import type { Outbox } from './outbox.ts'
import type { Recipient } from './router.ts'
import type { Session } from './session.ts'

const noBytes = Buffer.alloc(0)
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
  /** Where all members are sent what came as it came; undefined = not so, or not known yet. */
  #passing: OutputBuffer | undefined
  /** Of the message that says so: the packet up to its payload, without fixed header. */
  #headIn: Buffer = noBytes
  #headStart = 0
  #headBytes = 0

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
    if (others.length === 0 && this.#passing === undefined) this.#lookForPassing(message)
    return true
  }

  /**
   * The next PUBLISH of QoS 0 of the same client, without retain flag: has it the same topic, and goes it as it came? Then
   * nothing of it has to be decoded.
   * @returns false when it must be read
   */
  takeUnread(bytes: Buffer, start: number, end: number): boolean {
    const output = this.#passing
    if (output === undefined || this.#bytesLeft <= 0) return false
    const headBytes = this.#headBytes
    if (end - start < headBytes) return false
    const known = this.#headIn
    const knownStart = this.#headStart
    for (let i = 0; i < headBytes; i++) if (bytes[start + i] !== known[knownStart + i]) return false
    // Its length came in as few bytes as possible: the frame would have been refused (protocol/frame.ts).
    const packetBytes = 1 + variableByteCount(end - start) + end - start
    if (packetBytes > this.#packetBytesMax) return false
    this.#bytesLeft -= packetBytes
    this.#messageCount++
    passage.pass(output, bytes, end - packetBytes, end)
    return true
  }

  #lookForPassing(message: Publish): void {
    const members = this.#from5.count === 0 ? this.#before5 : this.#from5
    if (members.count === 0 || members.count < this.#before5.count + this.#from5.count) return
    if (!leavesAsItCame(message, members.version)) return
    this.#passing = members.output
    this.#headIn = message.bytes
    this.#headStart = message.topicStart - 2
    this.#headBytes = message.payloadStart - this.#headStart
  }

  /** Its messages go on; the next one may form another. */
  settle(): void {
    if (!this.#isFormed) return
    this.#isFormed = false
    this.#passing = undefined
    this.#headIn = noBytes
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
  readonly version: Version
  readonly #outboxes: Outbox[] = []
  /** For all of them; a single one is written to at once. */
  readonly #shared = new OutputBuffer()
  output = this.#shared

  constructor(version: Version) {
    this.version = version
  }

  get count(): number {
    return this.#outboxes.length
  }

  join(outbox: Outbox): void {
    this.#outboxes.push(outbox)
    this.output = this.#outboxes.length === 1 ? outbox.output : this.#shared
  }

  add(message: Publish): void {
    if (this.#outboxes.length === 0) return
    encodePublish(this.output, message, this.version, 0, false, false, 0, undefined, Number.POSITIVE_INFINITY)
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
    this.output = this.#shared
  }
}

/** Every member is sent it as it is. */
function isPlain({ retain, properties, expiresAtMs }: Publish): boolean {
  return !retain && properties === undefined && expiresAtMs === Number.POSITIVE_INFINITY
}
