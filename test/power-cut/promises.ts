/** What the clients of the recorded broker had been told at some point, out of what passed on its sockets; and whether it is kept. */

import { FrameDecoder } from '../../src/protocol/frame.ts'
import { PacketType } from '../../src/protocol/packet.ts'
import type { StoreRun } from '../contract/store-run.ts'
import { topicOf } from './peer.ts'
import type { TraceEvent } from './trace.ts'

export class Promises {
  /** Numbers whose PUBACK or PUBREC was sent: from 1 on without a gap, for the broker acknowledges in order. */
  readonly acknowledged = new Set<number>()
  /** Those at QoS 2 whose PUBREL has not come: the client may send them again, and that must be recognised. */
  readonly #halfDone = new Set<number>()
  readonly #lastRetained = new Map<string, number>()
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
    while (frames.next()) this.#pass(frames.header >> 4, frames.bytes, frames.start)
  }

  #pass(type: number, bytes: Buffer, start: number): void {
    if (type === PacketType.suback) this.isSubscribed = true
    else if (type === PacketType.puback) this.#acknowledge(bytes.readUInt16BE(start))
    else if (type === PacketType.pubrel) this.#halfDone.delete(bytes.readUInt16BE(start))
    else if (type === PacketType.pubrec) {
      this.#acknowledge(bytes.readUInt16BE(start))
      this.#halfDone.add(bytes.readUInt16BE(start))
    }
  }

  #acknowledge(number: number): void {
    this.acknowledged.add(number)
    if (topicOf(number) !== 'plain') this.#lastRetained.set(topicOf(number), number)
  }

  /** What a store that was opened after a cut has broken of it. */
  async brokenBy(run: StoreRun): Promise<string[]> {
    const broken: string[] = []
    const session = run.sessions.get('away')
    if (this.isSubscribed && session?.subscriptions[0]?.topicFilter !== '#') broken.push('the session is gone')
    const { log } = run.store
    const kept = new Set<number>()
    for (let seq = log.firstSeq; seq <= log.lastSeq; ) {
      const messages = await run.read(seq)
      for (const message of messages) kept.add(numberIn(message.publish.payload))
      seq = (messages.at(-1)?.seq ?? log.lastSeq) + 1
    }
    const accounted = run.losses.reduce(
      (sum, { reason, count = 0 }) => sum + (reason === 'backlog_full' ? count : 0),
      0,
    )
    const lost = [...this.acknowledged].filter((number) => !kept.has(number) && number > accounted)
    if (lost.length > 0) broken.push(`${lost.length} acknowledged messages are gone, the first is ${lost[0]}`)
    if (log.firstSeq - 1 > accounted)
      broken.push(`${log.firstSeq - 1} messages left the log, ${accounted} are accounted for`)
    const retained = new Map(run.retained.map(({ topic, payload }) => [topic, numberIn(payload)]))
    for (const [topic, number] of this.#lastRetained) {
      if ((retained.get(topic) ?? 0) < number) broken.push(`${topic} does not retain ${number}`)
    }
    for (const number of this.#halfDone) {
      if (!run.inbox.includes(`publisher ${number}`)) broken.push(`${number} would be taken twice`)
    }
    return broken
  }
}

/** CONNECT or CONNACK, which come first and alone. */
function isConnect(data: Buffer): boolean {
  return data[0] === PacketType.connect << 4 || data[0] === PacketType.connack << 4
}

function numberIn(payload: Buffer): number {
  return Number.parseInt(payload.toString(), 10)
}
