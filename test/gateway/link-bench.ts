/** A serial link on a bench: the frames of its peer go in by hand, and what comes out is noted. */
import {
  Flag,
  type Frame,
  fromWire,
  littleEndian,
  numberField,
  Type,
  toFields,
  toWire,
} from '../../firmware-sim/link-codec.ts'
import { type DownReason, SerialLink } from '../../src/gateway/serial-link.ts'
import { assert, must } from '../../src/lib/assert.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

export type State = 'closed' | 'resetting' | 'open'
export type Role = 'host' | 'device'

export interface Limits {
  readonly windowFrames?: number
  readonly mtuBytes?: number
  readonly creditBytes?: number
}

export class Bench {
  readonly clock = new VirtualClock()
  readonly role: Role
  readonly link: SerialLink
  /** What the owner of the link was told. */
  readonly told: string[] = []
  written: { readonly frame: Frame; readonly atMs: number; readonly wireBytes: number }[] = []
  react: (told: string) => void = () => {}
  /** Number in the last RST of the link. */
  askedFor = 0

  constructor(role: Role, baudRate = 115_200) {
    this.role = role
    const owner = {
      write: (bytes: Buffer) => this.#onWritten(bytes),
      onUp: () => this.#tell('up'),
      onBytes: (chunk: Buffer) => this.#tell(`bytes ${chunk.toString()}`),
      onDrain: () => this.#tell('drain'),
      onDown: (reason: DownReason) => this.#tell(`down ${reason}`),
      onLog: (text: Buffer) => this.#tell(`log ${text.toString()}`),
    }
    this.link = new SerialLink(role, baudRate, owner, this.clock, new SeededRandom(3))
  }

  /** What the frames of the link say of who speaks. */
  get ownFlag(): number {
    return this.role === 'host' ? Flag.host : 0
  }

  /** Into `state`, with a silent line, a peer with these limits, and nothing noted. */
  bring(state: State, limits: Limits = {}): void {
    if (state !== 'closed') this.link.open()
    this.clock.advanceMs(10)
    if (state === 'open') this.hear(Type.rstAck, this.hello({ conversation: this.askedFor, ...limits }))
    this.forget()
    this.told.length = 0
  }

  forget(): void {
    this.written = []
  }

  hear(type: number, payload = nothing, head: Partial<Frame> = {}): void {
    const flags = (head.flags ?? 0) | (this.ownFlag ^ Flag.host)
    this.link.receive(toWire({ type, seq: 0, ack: 0, ...head, flags, payload }))
  }

  /** What the peer says of itself. */
  hello(fields: { conversation: number; bootId?: number; role?: Role } & Limits): Buffer {
    const { conversation, bootId = 5, windowFrames = 3, mtuBytes = 1152, creditBytes = 4096 } = fields
    const role = fields.role ?? (this.role === 'host' ? 'device' : 'host')
    return toFields([
      [1, littleEndian(1, 1)],
      [2, littleEndian(role === 'host' ? 1 : 0, 1)],
      [3, littleEndian(bootId, 4)],
      [4, littleEndian(conversation, 4)],
      [6, littleEndian(mtuBytes, 2)],
      [7, littleEndian(creditBytes, 2)],
      [8, littleEndian(windowFrames, 1)],
    ])
  }

  dataSeqs(): number[] {
    return this.written.filter(({ frame }) => frame.type === Type.data).map(({ frame }) => frame.seq)
  }

  /** `DATA PONG DATA` */
  writtenKinds(): string {
    return this.#kinds().join(' ')
  }

  /** `PING+ RST` for `PING PING PING RST` */
  writtenRuns(): string {
    const kinds = this.#kinds()
    return kinds
      .filter((kind, at) => kind !== kinds[at - 1])
      .map((kind) => (this.writtenKinds().includes(`${kind} ${kind}`) ? `${kind}+` : kind))
      .join(' ')
  }

  every(intervalMs: number, task: () => void): () => void {
    const run = (): void => {
      task()
      timer = this.clock.after(intervalMs, run)
    }
    let timer = this.clock.after(intervalMs, run)
    return () => timer.cancel()
  }

  #onWritten(bytes: Buffer): void {
    const wire = must(fromWire(bytes.subarray(1, -1)), 'whole frame')
    assert((wire.flags & Flag.host) === this.ownFlag, 'it says who speaks')
    const frame = { ...wire, flags: wire.flags & ~Flag.host }
    if (frame.type === Type.rst) this.askedFor = conversationOf(frame)
    this.written.push({ frame, atMs: this.clock.nowMs(), wireBytes: bytes.length })
  }

  #tell(text: string): void {
    this.told.push(text)
    this.react(text)
  }

  #kinds(): string[] {
    const names = Object.entries(Type)
    return this.written.map(({ frame }) =>
      must(
        names.find(([, type]) => type === frame.type),
        'type',
      )[0].toUpperCase(),
    )
  }
}

export function conversationOf(frame: Frame): number {
  return must(numberField(frame.payload, 4), 'conversation')
}

const nothing: Buffer = Buffer.alloc(0)
