/**
 * The crash run: publishers and durable subscribers at QoS 1 and 2, some of them away until the end, while the broker
 * is killed again and again. Afterwards every acknowledged message must have reached every subscriber, in order, and
 * exactly once where both sides speak QoS 2.
 */
import { SeededRandom } from '../fakes/seeded-random.ts'
import { BrokerProcess } from './broker-process.ts'
import { Publisher } from './publisher.ts'
import { Subscriber } from './subscriber.ts'

export interface CrashOptions {
  readonly killCount: number
  /** Of all publishers together. */
  readonly messageCount: number
  readonly seed: number
  /** An empty folder for what the broker keeps. */
  readonly folder: string
}

export interface CrashResult {
  readonly killCount: number
  readonly acknowledgedCount: number
  readonly rows: readonly CrashRow[]
  /** Sessions that the broker had promised to keep and did not. */
  readonly forgottenCount: number
  readonly killedSeconds: number
  readonly drainedSeconds: number
}

/** All publishers of one QoS as one subscriber saw them. */
export interface CrashRow {
  readonly subscriber: string
  readonly publishedQos: 1 | 2
  readonly acknowledged: number
  readonly lost: number
  readonly doubled: number
  /** Doubles here break a promise. */
  readonly isExactlyOnce: boolean
  readonly outOfOrder: number
}

/** Nothing moves for so long: something hangs. */
const stalledMs = 30_000

/** A process that was started lately is killed within this time, listening or not. */
const earlyKillMs = 500

/** Rejects when the broker ends by itself, or nothing moves any more. @param onKill for telling how far it is */
export async function crashRun(options: CrashOptions, onKill: (killCount: number) => void): Promise<CrashResult> {
  const run = new Run(options)
  try {
    return await run.finish(onKill)
  } finally {
    await run.close()
  }
}

class Run {
  readonly #options: CrashOptions
  readonly #random: SeededRandom
  readonly #broker: BrokerProcess
  readonly #publishers: readonly Publisher[]
  readonly #online: readonly Subscriber[]
  readonly #offline: readonly Subscriber[]
  #onProgress: () => void = () => undefined
  #acknowledgedCount = 0

  constructor(options: CrashOptions) {
    this.#options = options
    this.#random = new SeededRandom(options.seed)
    this.#broker = new BrokerProcess(options.folder)
    const port = () => this.#broker.port
    const moved = () => this.#onProgress()
    const acknowledged = () => {
      this.#acknowledgedCount++
      moved()
    }
    const each = Math.ceil(options.messageCount / 4)
    this.#publishers = [
      new Publisher('p1a', 1, each, port, acknowledged),
      new Publisher('p1b', 1, each, port, acknowledged),
      new Publisher('p2a', 2, each, port, acknowledged),
      new Publisher('p2b', 2, each, port, acknowledged),
    ]
    this.#online = [new Subscriber('online-1', 1, port, moved), new Subscriber('online-2', 2, port, moved)]
    this.#offline = [new Subscriber('offline-1', 1, port, moved), new Subscriber('offline-2', 2, port, moved)]
    for (const subscriber of this.#subscribers) {
      for (const publisher of this.#publishers) subscriber.accountOf(publisher)
      subscriber.client.flushDelayMs = () => this.#random.below(4)
    }
  }

  get #subscribers(): readonly Subscriber[] {
    return [...this.#online, ...this.#offline]
  }

  async finish(onKill: (killCount: number) => void): Promise<CrashResult> {
    const startedMs = performance.now()
    this.#startBroker()
    for (const { client } of this.#subscribers) client.start()
    await this.#until(() => this.#subscribers.every(({ client }) => client.isKnown))
    for (const { client } of this.#offline) await client.stop()
    for (const { client } of this.#publishers) client.start()
    await this.#until(() => this.#publishers.every(({ client }) => client.isKnown))
    const { killCount, messageCount } = this.#options
    // Most kills while messages come in, the others while those who were away catch up.
    const drainKillCount = Math.floor(killCount / 6)
    const inKillCount = killCount - drainKillCount
    for (let kill = 1; kill <= inKillCount; kill++) {
      await this.#liveUntilKill(kill / inKillCount, 1 / inKillCount, messageCount, () => this.#acknowledgedCount)
      onKill(kill)
    }
    await this.#until(() => this.#publishers.every(({ acknowledgedCount, count }) => acknowledgedCount === count))
    const killedMs = performance.now()
    for (const { client } of this.#offline) client.start()
    const caughtUpCount = () => this.#offline.reduce((sum, { distinctCount }) => sum + distinctCount, 0)
    for (let kill = 1; kill <= drainKillCount; kill++) {
      const total = this.#offline.length * messageCount
      await this.#liveUntilKill(kill / drainKillCount, 1 / drainKillCount, total, caughtUpCount)
      onKill(inKillCount + kill)
    }
    await this.#drain()
    return {
      killCount: this.#options.killCount,
      acknowledgedCount: this.#acknowledgedCount,
      rows: this.#subscribers.flatMap((subscriber) => [this.#row(subscriber, 1), this.#row(subscriber, 2)]),
      forgottenCount: [...this.#publishers, ...this.#subscribers].reduce(
        (sum, { client }) => sum + client.forgottenCount,
        0,
      ),
      killedSeconds: (killedMs - startedMs) / 1000,
      drainedSeconds: (performance.now() - killedMs) / 1000,
    }
  }

  async close(): Promise<void> {
    for (const { client } of [...this.#publishers, ...this.#subscribers]) await client.stop()
    await this.#broker.kill()
  }

  /**
   * One life of the broker: it is killed on the way to `share` of `total`, at most `step` before it, or soon after its
   * start; then it is started again.
   */
  async #liveUntilKill(share: number, step: number, total: number, reached: () => number): Promise<void> {
    if (this.#random.below(6) === 0) {
      await sleep(this.#random.below(earlyKillMs))
    } else {
      // The last kill comes before the last message.
      const at = Math.floor(total * 0.97 * (share - step * this.#random.next()))
      const from = reached()
      await this.#until(() => reached() >= Math.max(at, from + 1))
      await sleep(this.#random.below(15))
    }
    await this.#broker.kill()
    this.#startBroker()
  }

  #startBroker(): void {
    this.#broker.start(() => this.#onProgress())
  }

  /** Everything has arrived, or nothing does any more. */
  async #drain(): Promise<void> {
    const isComplete = (subscriber: Subscriber) => this.#publishers.every((each) => subscriber.lostOf(each) === 0)
    try {
      await this.#until(() => this.#subscribers.every(isComplete))
    } catch (error) {
      if (!(error instanceof Stalled)) throw error
    }
  }

  #until(condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        clearInterval(watch)
        this.#onProgress = () => undefined
        settle()
      }
      let movedMs = performance.now()
      const watch = setInterval(() => {
        const { failure } = this.#broker
        if (failure !== undefined) end(() => reject(new Error(failure)))
        else if (condition()) end(resolve)
        else if (performance.now() - movedMs > stalledMs) end(() => reject(new Stalled(this.#standing())))
      }, 100)
      this.#onProgress = () => {
        movedMs = performance.now()
        if (condition()) end(resolve)
      }
      if (condition()) end(resolve)
    })
  }

  #row(subscriber: Subscriber, publishedQos: 1 | 2): CrashRow {
    const publishers = this.#publishers.filter(({ qos }) => qos === publishedQos)
    const sum = (of: (publisher: Publisher) => number) => publishers.reduce((total, each) => total + of(each), 0)
    return {
      subscriber: subscriber.name,
      publishedQos,
      acknowledged: sum(({ acknowledgedCount }) => acknowledgedCount),
      lost: sum((publisher) => subscriber.lostOf(publisher)),
      doubled: sum((publisher) => subscriber.accountOf(publisher).doubledCount),
      isExactlyOnce: publishedQos === 2 && subscriber.qos === 2,
      outOfOrder: sum((publisher) => subscriber.accountOf(publisher).lateCount),
    }
  }

  #standing(): string {
    const publishers = this.#publishers.map(({ name, acknowledgedCount }) => `${name} ${acknowledgedCount}`)
    const subscribers = this.#subscribers.map(({ name, receivedCount }) => `${name} ${receivedCount}`)
    return `nothing moved for ${stalledMs / 1000} s: ${[...publishers, ...subscribers].join(', ')}`
  }
}

class Stalled extends Error {}

/** What of a result breaks a promise; empty when all hold. */
export function violations({ rows, forgottenCount }: CrashResult): readonly string[] {
  const found = rows.flatMap(({ subscriber, publishedQos, lost, doubled, isExactlyOnce, outOfOrder }) => {
    const whose = `of QoS ${publishedQos} for ${subscriber}`
    return [
      ...(lost > 0 ? [`${lost} ${whose} lost`] : []),
      ...(doubled > 0 && isExactlyOnce ? [`${doubled} ${whose} doubled`] : []),
      ...(outOfOrder > 0 ? [`${outOfOrder} ${whose} out of order`] : []),
    ]
  })
  return forgottenCount === 0 ? found : [...found, `${forgottenCount} sessions forgotten`]
}

function sleep(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs))
}
