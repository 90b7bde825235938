/** Drives a store for its contract (store.ts): what it loaded, what it told its owner, and things to put into it. */
import fc from 'fast-check'
import type { Test } from 'tap'
import type { Failure } from '../../src/lib/errors.ts'
import type { DelayRecord } from '../../src/ports/delays.ts'
import type { LossRecord } from '../../src/ports/ledger.ts'
import type {
  Mark,
  ReadLimit,
  SessionRecord,
  Store,
  StoredMessage,
  SubscriptionRecord,
  Ticket,
} from '../../src/ports/store.ts'
import type { PublishProperties, Qos } from '../../src/protocol/packet.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'

export type MakeStore = (t: Test) => Promise<StoreHarness>

export interface StoreHarness {
  /** Opens what an earlier store left behind; a new store the first time. */
  open(): Promise<Store>
  /** Leaves `store` as a crash at this instant would, and opens what survived. */
  crash(store: Store): Promise<Store>
  /** Makes commits fail; undefined where they cannot. */
  breakDisk?: (() => Promise<BrokenDisk>) | undefined
}

export interface BrokenDisk {
  /** Resolves once another commit has been tried in vain. */
  retry(): Promise<void>
  mend(): Promise<void>
}

/** A store from its opening on: what it loaded, what it told its owner. */
export class StoreRun {
  readonly store: Store
  epoch = ''
  readonly sessions = new Map<string, SessionRecord>()
  readonly inbox: string[] = []
  readonly retained: Publish[] = []
  readonly marks = new Map<string, Mark>()
  readonly losses: LossRecord[] = []
  readonly delays: DelayRecord[] = []
  readonly tickets: Ticket[] = []
  readonly failures: Failure[] = []
  recoveredCount = 0
  beforeCommit: (() => void) | undefined
  #waiting: { condition: () => boolean; resolve: () => void }[] = []

  private constructor(store: Store) {
    this.store = store
    store.bind({
      beforeCommit: () => this.beforeCommit?.(),
      onDurable: (ticket) => {
        this.tickets.push(ticket)
        this.#wake()
      },
      onFailure: (failure) => {
        this.failures.push(failure)
        this.#wake()
      },
      onRecovered: () => {
        this.recoveredCount++
        this.#wake()
      },
    })
  }

  static async start(opening: Promise<Store>): Promise<StoreRun> {
    const run = new StoreRun(await opening)
    await run.store.load({
      onEpoch: (epoch) => {
        run.epoch = epoch
      },
      onSession: (record) => run.sessions.set(record.clientId, record),
      onInbox: (clientId, packetId) => run.inbox.push(`${clientId} ${packetId}`),
      onRetained: (publish) => run.retained.push(publish),
      onMark: (key, mark) => run.marks.set(key, mark),
      onLoss: (record) => run.losses.push(record),
      onDelay: (record) => run.delays.push(record),
    })
    return run
  }

  /** Resolves when the store has told what makes `condition` true. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push({ condition, resolve }))
  }

  /** Resolves when the writes made so far are durable. */
  settle(): Promise<void> {
    const ticket = this.store.lastTicket
    return this.until(() => this.store.durableTicket >= ticket)
  }

  read(from: number, limit: Partial<ReadLimit> = {}): Promise<readonly StoredMessage[]> {
    return new Promise((resolve, reject) => {
      const { countMax, bytesMax, lane } = { ...everything, ...limit }
      this.store.log.read(from, { countMax, bytesMax, lane }, (messages, failure) => {
        if (failure === undefined) resolve(messages)
        else reject(failure)
      })
    })
  }

  async readAll(): Promise<Publish[]> {
    const all: Publish[] = []
    for (;;) {
      const messages = await this.read(all.length + 1, { countMax: 64 })
      if (messages.length === 0) return all
      all.push(...messages.map(({ publish }) => publish))
    }
  }

  /** What the store loaded and what its log holds. */
  async content(): Promise<Content> {
    return {
      messages: (await this.readAll()).map(toPlain),
      sessions: [...this.sessions.values()].map(plainSession),
      inbox: this.inbox,
      retained: this.retained.map(toPlain),
      marks: this.marks,
      losses: this.losses,
    }
  }

  #wake(): void {
    const woken = this.#waiting.filter(({ condition }) => condition())
    this.#waiting = this.#waiting.filter((waiting) => !woken.includes(waiting))
    for (const { resolve } of woken) resolve()
  }
}

export interface Content {
  readonly messages: readonly ReturnType<typeof toPlain>[]
  readonly sessions: readonly object[]
  readonly inbox: readonly string[]
  readonly retained: readonly object[]
  readonly marks: ReadonlyMap<string, Mark>
  readonly losses: readonly LossRecord[]
}

export const everything: ReadLimit = { countMax: 1000, bytesMax: 1_000_000 }

/** Resolves after the reads and the end-of-turn tasks of this turn. */
export function turnEnd(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** A message of `payloadBytes` bytes, no two of them equal. */
export function message(topic: string, payloadBytes = 4): Publish {
  return Publish.create({ topic, payload: Buffer.from(Array.from({ length: payloadBytes }, (_, i) => i * 7)) })
}

/** A message with everything a message can have. */
export function fullMessage(): Publish {
  const publish = Publish.create({
    topic: 'plant/⚡/\u{1F600}',
    payload: Buffer.from([0, 1, 0xff, 0, 0xc3]),
    qos: 2,
    retain: true,
    properties: {
      payloadFormatIndicator: 0,
      contentType: 'a"b',
      correlationData: Buffer.from([0, 0, 1]),
      userProperties: [
        ['k', 'v'],
        ['k', '⚡'],
      ],
    },
  })
  publish.expiresAtMs = 2 ** 41
  publish.publisher = 'client "1" ⚡'
  return publish
}

export function anyMessage(): fc.Arbitrary<Publish> {
  const text = fc.string({ unit: 'binary', maxLength: 20 }).map((value) => value.replaceAll('\0', ''))
  const topic = fc
    .oneof(fc.constant('plant/line1/temperature'), text)
    .map((value) => value.replaceAll(/[#+]/g, '') || 't')
  const bytes = fc.uint8Array({ maxLength: 300 }).map((value) => Buffer.from(value))
  const properties = fc.option(
    fc.record<PublishProperties>(
      {
        payloadFormatIndicator: fc.constantFrom(0, 1),
        messageExpiryInterval: fc.nat(),
        contentType: text,
        responseTopic: topic,
        correlationData: bytes,
        userProperties: fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 20 }),
        subscriptionIdentifiers: fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1, maxLength: 3 }),
      },
      { requiredKeys: [] },
    ),
    { nil: undefined },
  )
  return fc
    .record({
      topic,
      payload: bytes,
      qos: fc.constantFrom<Qos[]>(0, 1, 2),
      retain: fc.boolean(),
      properties,
      expiresAtMs: fc.option(fc.maxSafeNat(), { nil: Number.POSITIVE_INFINITY }),
      publisher: fc.oneof(fc.constantFrom('', 'gateway-1'), text),
    })
    .map(({ expiresAtMs, publisher, ...rest }) => Object.assign(Publish.create(rest), { expiresAtMs, publisher }))
}

/** `publish` as it comes from a link: a view on a chunk, which is added to `chunks`. */
export function borrowed(publish: Publish, chunks: Buffer[]): Publish {
  const { topic, payload, qos, retain, properties, expiresAtMs, publisher } = publish
  const topicBytes = Buffer.from(topic)
  const chunk = Buffer.concat([Buffer.from('xx'), topicBytes, Buffer.from('id'), payload, Buffer.from('next')])
  chunks.push(chunk)
  const topicEnd = 2 + topicBytes.length
  const payloadEnd = topicEnd + 2 + payload.length
  const view = new Publish(topic, qos, retain, true, 9, properties, chunk, 2, topicEnd, topicEnd + 2, payloadEnd, false)
  return Object.assign(view, { expiresAtMs, publisher })
}

/** What of a message is kept. Properties without those that are absent, bytes as hex. */
export function toPlain(publish: Publish) {
  const { topic, qos, retain, expiresAtMs, publisher, bytes, topicStart, topicEnd } = publish
  const properties = Object.entries(publish.properties ?? {})
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => [name, Buffer.isBuffer(value) ? value.toString('hex') : value])
    .sort()
  return {
    topic,
    topicBytes: bytes.toString('utf8', topicStart, topicEnd),
    payload: publish.payload.toString('hex'),
    qos,
    retain,
    properties,
    expiresAtMs,
    publisher,
  }
}

export function sessionRecord(clientId: string, fields: Partial<SessionRecord> = {}): SessionRecord {
  return {
    clientId,
    epoch: 1,
    version: 4,
    expiryIntervalSeconds: Number.POSITIVE_INFINITY,
    disconnectedAtMs: undefined,
    subscriptions: [],
    cursor: 0,
    sentSeq: 0,
    outbound: [],
    will: undefined,
    ...fields,
  }
}

export function subscriptionRecord(topicFilter: string, fields: Partial<SubscriptionRecord> = {}): SubscriptionRecord {
  return {
    topicFilter,
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionIdentifier: undefined,
    sinceSeq: 0,
    ...fields,
  }
}

export function lossRecord(number: number, fields: Partial<LossRecord> = {}): LossRecord {
  return {
    number,
    reason: 'expired',
    scope: 'a',
    lane: 0,
    epoch: 'e',
    firstSeq: 1,
    lastSeq: 1,
    count: 1,
    sinceMs: 5,
    untilMs: 6,
    ...fields,
  }
}

export function plainSession({ will, ...rest }: SessionRecord) {
  return { ...rest, will: will && { ...will, message: toPlain(will.message) } }
}

/** One write of every kind, all in one turn. */
export function writeOneOfEach({ log, sessions, inbox, retained, marks, ledger }: Store): void {
  log.append(message('a'))
  sessions.save(sessionRecord('a', { cursor: 3 }))
  inbox.put('a', 1)
  retained.set(message('r'))
  marks.set('m', { epoch: 'e', seq: 1 })
  ledger.put(lossRecord(1))
}

export const oneOfEach: Content = {
  messages: [toPlain(message('a'))],
  sessions: [plainSession(sessionRecord('a', { cursor: 3 }))],
  inbox: ['a 1'],
  retained: [toPlain(message('r'))],
  marks: new Map([['m', { epoch: 'e', seq: 1 }]]),
  losses: [lossRecord(1)],
}

export const nothing: Content = { messages: [], sessions: [], inbox: [], retained: [], marks: new Map(), losses: [] }

export function seqs(messages: readonly StoredMessage[]): number[] {
  return messages.map(({ seq }) => seq)
}
