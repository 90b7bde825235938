/**
 * A gateway that was away for long: millions of messages wait in its store. It starts with them, they go up in order
 * and once, what has expired meanwhile stands in the ledger, memory stays where it is, and what it says about when it
 * will be done is true.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { connectAsync, type MqttClient } from 'mqtt'
import type { Loads } from './loads.ts'
import { Pair } from './pair.ts'
import { prepare } from './prepared-store.ts'

/** Beside the backlog: messages that expire before the gateway is back, and as many that do not. */
const expiringCount = 500
const soonSeconds = 3
const lateSeconds = 3600

const lookMs = 500

export interface Offline {
  readonly preparedPerSecond: number
  readonly startMs: number
  readonly drainedPerSecond: number
  readonly isComplete: boolean
  readonly restingMegabytes: number
  readonly highestMegabytes: number
  /** The highest of the second half of the way over the highest of the first, after its first tenth. */
  readonly memoryGrowth: number
  /** At a tenth of the way, two tenths and so on. */
  readonly points: readonly Point[]
  /** Worst ratio of what was told to what came, from a tenth to nine tenths of the way. */
  readonly timeToEmptyError: number
  /** Of those that expire soon: arrived, and in the ledger. */
  readonly expiredArrivedCount: number
  readonly expiredToldCount: number
  /** Of those that expire late: arrived with what is left of their time, to 2 s. */
  readonly remainingRightCount: number
  readonly expiringCount: number
}

/** What the gateway is and says at a point of the way. */
export interface Point {
  readonly percent: number
  readonly megabytes: number
  /** Signed: told too long is above 0; NaN where nothing was told yet. */
  readonly timeToEmptyError: number
}

export async function offline(loads: Loads, count: number): Promise<Offline> {
  const pair = await Pair.make('tidegate')
  const { edge, cloud } = pair
  let watcher: MqttClient | undefined
  try {
    await edge.start()
    await wait(1500)
    const restingMegabytes = edge.residentMegabytes()
    const publishedAtMs = await publishExpiring(edge.port)
    await edge.stop()
    const preparedPerSecond = await prepare(edge.dataDir, count)
    await wait(Math.max(0, publishedAtMs + soonSeconds * 1000 - performance.now()))

    await cloud.start()
    const arrived = { soon: 0, late: 0 }
    watcher = await connectAsync(`mqtt://127.0.0.1:${cloud.port}`, { protocolVersion: 5, clientId: 'watcher' })
    watcher.on('message', (topic, _payload, { properties }) => {
      const leftSeconds = lateSeconds - (performance.now() - publishedAtMs) / 1000
      if (topic === 'expiring/soon') arrived.soon++
      else if (Math.abs((properties?.messageExpiryInterval ?? 0) - leftSeconds) <= 2) arrived.late++
    })
    await watcher.subscribeAsync('expiring/#', { qos: 1 })
    const { all } = loads.collect(cloud.port, count, 60)
    await wait(300)
    const startedAtMs = performance.now()
    await edge.start()
    const startMs = performance.now() - startedAtMs
    const looks = new Looks()
    let isOver = false
    const looking = looks.until(edge, count, () => isOver)
    const { distinct, received, late, seconds } = await all
    isOver = true
    await looking
    await wait(500)
    const { expired = 0 } = await edge.losses()
    return {
      preparedPerSecond,
      startMs,
      drainedPerSecond: distinct / seconds,
      isComplete: distinct === count && received === count && late === 0,
      restingMegabytes,
      highestMegabytes: looks.highestMegabytes,
      memoryGrowth: looks.memoryGrowth,
      points: looks.points,
      timeToEmptyError: looks.timeToEmptyError,
      expiredArrivedCount: arrived.soon,
      expiredToldCount: expired,
      remainingRightCount: arrived.late,
      expiringCount,
    }
  } finally {
    await watcher?.endAsync(true)
    await pair.remove()
  }
}

/** @returns when */
async function publishExpiring(port: number): Promise<number> {
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5, clientId: 'expiring' })
  const publishing: Promise<unknown>[] = []
  for (const [topic, messageExpiryInterval] of [
    ['expiring/soon', soonSeconds],
    ['expiring/late', lateSeconds],
  ] as const) {
    for (let number = 0; number < expiringCount; number++) {
      publishing.push(client.publishAsync(topic, String(number), { qos: 1, properties: { messageExpiryInterval } }))
    }
  }
  await Promise.all(publishing)
  await client.endAsync()
  return performance.now()
}

/** What the gateway says of itself while the backlog goes. */
class Looks {
  highestMegabytes = 0
  readonly #seen: { atMs: number; done: number; megabytes: number; toldMs: number | null }[] = []
  /** Later than the last look that found something, by one look at most. */
  #emptyAtMs = 0

  async until(edge: Pair['edge'], count: number, isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const megabytes = edge.residentMegabytes()
      this.highestMegabytes = Math.max(this.highestMegabytes, megabytes)
      const { timeToEmptyMs, backlogCount } = await edge.bridge()
      const atMs = performance.now()
      this.#seen.push({ atMs, done: 1 - backlogCount / count, megabytes, toldMs: timeToEmptyMs })
      if (backlogCount > 0) this.#emptyAtMs = atMs
      await wait(lookMs)
    }
  }

  get points(): Point[] {
    const points: Point[] = []
    for (let percent = 10; percent <= 90; percent += 10) {
      const seen = this.#seen.find(({ done }) => done * 100 >= percent)
      if (seen !== undefined) {
        points.push({ percent, megabytes: seen.megabytes, timeToEmptyError: this.#errorOf(seen) })
      }
    }
    return points
  }

  get memoryGrowth(): number {
    return this.#highestBetween(0.5, 1) / this.#highestBetween(0.1, 0.5)
  }

  get timeToEmptyError(): number {
    const errors = this.#seen
      .filter(({ done, toldMs }) => toldMs !== null && done > 0.1 && done < 0.9)
      .map((seen) => Math.abs(this.#errorOf(seen)))
    return errors.length === 0 ? Number.NaN : Math.max(...errors)
  }

  #highestBetween(from: number, to: number): number {
    return Math.max(...this.#seen.filter(({ done }) => done >= from && done < to).map(({ megabytes }) => megabytes))
  }

  #errorOf({ atMs, toldMs }: { atMs: number; toldMs: number | null }): number {
    return toldMs === null ? Number.NaN : toldMs / (this.#emptyAtMs - atMs) - 1
  }
}
