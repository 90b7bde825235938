/**
 * What the clients of the recorded broker had been told at some point, out of what passed on its sockets; and whether it
 * is kept. What was to survive less than a power cut may be gone, but its place is taken by nothing else.
 */
import mqttPacket from 'mqtt-packet'
import { FrameDecoder } from '../../src/protocol/frame.ts'
import { findNumber, type MessageNumber, numberProperty } from '../../src/protocol/message-number.ts'
import { PacketType } from '../../src/protocol/packet.ts'
import { message, type StoreRun } from '../contract/store-run.ts'
import { durabilityOf, isRetained, topicOf } from './peer.ts'
import type { TraceEvent } from './trace.ts'

export class Promises {
  /** Numbers at `disk` whose PUBACK or PUBREC was sent. */
  readonly acknowledged = new Set<number>()
  /** Those at QoS 2 whose PUBREL has not come: the client may send them again, and that must be recognised. */
  readonly #halfDone = new Set<number>()
  readonly #lastRetained = new Map<string, number>()
  /** The number of the message that was told under a seq. */
  readonly #told = new Map<number, number>()
  #lastTold: MessageNumber | undefined
  isSubscribed = false
  /** By direction and socket. */
  readonly #frames = new Map<string, FrameDecoder>()

  replay(event: TraceEvent): void {
    if (event.kind !== 'sent' && event.kind !== 'received') return
    const key = `${event.kind} ${event.socket}`
    let frames = this.#frames.get(key)
    // A broker that starts anew has the same numbers for other sockets.
    if (frames === undefined || isConnect(event.data)) {
      frames = new FrameDecoder(1_000_000)
      this.#frames.set(key, frames)
    }
    frames.push(Buffer.from(event.data))
    while (frames.next()) {
      const type = frames.header >> 4
      if (event.kind === 'received') this.#hear(type, frames.bytes, frames.start)
      else if (type === PacketType.publish) this.#tell(frames)
      else this.#answer(type, frames.bytes, frames.start)
    }
  }

  #hear(type: number, bytes: Buffer, start: number): void {
    if (type === PacketType.pubrel) this.#halfDone.delete(bytes.readUInt16BE(start))
  }

  #answer(type: number, bytes: Buffer, start: number): void {
    if (type === PacketType.suback) this.isSubscribed = true
    else if (type === PacketType.puback) this.#acknowledge(bytes.readUInt16BE(start))
    else if (type === PacketType.pubrec) {
      this.#acknowledge(bytes.readUInt16BE(start))
      this.#halfDone.add(bytes.readUInt16BE(start))
    }
  }

  #acknowledge(number: number): void {
    if (durabilityOf(number) !== 'disk') return
    this.acknowledged.add(number)
    if (isRetained(number)) this.#lastRetained.set(topicOf(number), number)
  }

  #tell(frames: FrameDecoder): void {
    const parser = mqttPacket.parser({ protocolVersion: 5 })
    parser.on('packet', (packet) => {
      if (packet.cmd !== 'publish') return
      const text = packet.properties?.userProperties?.[numberProperty]
      const number = findNumber(typeof text === 'string' ? [[numberProperty, text]] : undefined)
      if (number === undefined) return
      this.#lastTold = number
      this.#told.set(number.seq, numberIn(packet.payload as Buffer))
    })
    parser.parse(frameOf(frames))
  }

  /** What a store that was opened after a cut has broken of it. */
  async brokenBy(run: StoreRun): Promise<string[]> {
    const broken: string[] = []
    const session = run.sessions.get('away')
    if (this.isSubscribed && session?.subscriptions[0]?.topicFilter !== '#') broken.push('the session is gone')
    const { log } = run.store
    const kept = new Map<number, number>()
    for (let seq = log.firstSeq; seq <= log.lastSeq; ) {
      const messages = await run.read(seq)
      for (const message of messages) kept.set(message.seq, numberIn(message.publish.payload))
      seq = (messages.at(-1)?.seq ?? log.lastSeq) + 1
    }
    const numbers = [...kept.values()]
    if (numbers.some((number, index) => number <= (numbers[index - 1] ?? 0))) broken.push('the order is not kept')
    const first = numbers[0] ?? Number.POSITIVE_INFINITY
    const keptNumbers = new Set(numbers)
    const missing = [...this.acknowledged].filter((number) => !keptNumbers.has(number))
    const accounted = run.losses.reduce(
      (sum, { reason, count = 0 }) => sum + (reason === 'backlog_full' ? count : 0),
      0,
    )
    const lost = missing.filter((number) => number > first)
    const dropped = missing.length - lost.length
    if (lost.length > 0) broken.push(`${lost.length} acknowledged messages are gone, the first is ${lost[0]}`)
    if (dropped > accounted) broken.push(`${dropped} messages left the log, ${accounted} are accounted for`)
    const retained = new Map(run.retained.map(({ topic, payload }) => [topic, numberIn(payload)]))
    for (const [topic, number] of this.#lastRetained) {
      if ((retained.get(topic) ?? 0) < number) broken.push(`${topic} does not retain ${number}`)
    }
    for (const number of this.#halfDone) {
      if (!run.inbox.includes(`publisher ${number}`)) broken.push(`${number} would be taken twice`)
    }
    return [...broken, ...this.#brokenNumbers(run, kept)]
  }

  /** Somebody outside knows which message has which seq, and would take another one for the same. */
  #brokenNumbers(run: StoreRun, kept: ReadonlyMap<number, number>): string[] {
    if (this.#lastTold === undefined) return []
    const { epoch, seq } = this.#lastTold
    if (run.epoch !== epoch) return ['the log is another one']
    const broken: string[] = []
    for (const [each, number] of kept) {
      const told = this.#told.get(each)
      if (told !== undefined && told !== number) broken.push(`seq ${each} was message ${told} and is ${number}`)
    }
    const next = run.store.log.append(message('next'))
    if (next <= seq) broken.push(`seq ${next} is given out again, ${seq} was told`)
    return broken
  }
}

function frameOf({ header, bytes, start, end }: FrameDecoder): Buffer {
  const length: number[] = []
  for (let rest = end - start; rest > 0 || length.length === 0; rest >>>= 7) {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
  }
  return Buffer.concat([Buffer.from([header, ...length]), bytes.subarray(start, end)])
}

/** CONNECT or CONNACK, which come first and alone. */
function isConnect(data: Buffer): boolean {
  return data[0] === PacketType.connect << 4 || data[0] === PacketType.connack << 4
}

function numberIn(payload: Buffer): number {
  return Number.parseInt(payload.toString(), 10)
}
