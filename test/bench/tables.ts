/**
 * `npm run bench:tables`: a million subscriptions in the router and a million retained topics in a store: what each takes,
 * and how long it takes to find those that match. One process, no sockets.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openSqliteStore } from '../../src/adapters/store-sqlite/open.ts'
import { createSystemClock } from '../../src/adapters/system/clock.ts'
import { systemRandom } from '../../src/adapters/system/random.ts'
import { RetainedTable } from '../../src/broker/retained.ts'
import { Router } from '../../src/broker/router.ts'
import { Session } from '../../src/broker/session.ts'
import { Subscription } from '../../src/broker/subscription.ts'
import type { Store } from '../../src/ports/store.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import { storeLoader, storeOwner } from '../fakes/store-ends.ts'
import { silentLog } from '../fakes/test-broker.ts'

const { values } = parseArgs({ options: { count: { type: 'string', default: '1000000' } } })
const count = Number(values.count)
const sites = 1000
const sessionCount = 1000
const lookUps = 100_000
/**
 * Written at once, in one commit. The topics of each lie all over the index, so that each commit writes nearly every
 * page of it: in small ones a million topics take many minutes.
 */
const writesAtOnce = 100_000

function topicOf(index: number): string {
  return `site/${index % sites}/device-${index}/state`
}

/** One filter in ten has a wildcard. */
function filterOf(index: number): string {
  const end = index % 10 > 0 ? 'state' : index % 20 > 0 ? '+' : '#'
  return `site/${index % sites}/device-${index}/${end}`
}

function subscriptions(): void {
  const sessions = Array.from({ length: sessionCount }, (_, i) => sessionOf(`client-${i}`))
  const router = new Router({ add() {}, remove() {} })
  const options = {
    qos: 0,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionIdentifier: undefined,
    sinceSeq: 0,
  } as const
  const before = heapBytes()
  const addMs = time(() => {
    for (let i = 0; i < count; i++) {
      const session = sessions[i % sessionCount] as Session
      const subscription = new Subscription(session, { ...options, topicFilter: filterOf(i) })
      session.addSubscription(subscription)
      router.add(subscription)
    }
  })
  print('subscriptions', `${bytesEach(before)} B each with what their sessions hold, ${each(addMs, count)} to add one`)
  // Each topic once, so that none is found in the router's cache.
  let found = 0
  const matchMs = time(() => {
    for (let i = 0; i < lookUps; i++) found += router.match(topicOf((i * 7919) % count)).length
  })
  print('match', `${each(matchMs, lookUps)} for a topic that was not published to before, ${found} recipients`)
  const againMs = time(() => {
    for (let i = 0; i < lookUps; i++) router.match(topicOf(((i % 100) * 7919) % count))
  })
  print('match again', `${each(againMs, lookUps)} for one of a hundred topics`)
}

async function retained(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-tables-'))
  const open = () =>
    openSqliteStore({
      path: join(folder, 'tidegate.db'),
      durability: 'os',
      commitIntervalMs: 0,
      clock: createSystemClock(undefined),
      random: systemRandom,
      log: silentLog,
    })
  try {
    const full = await open()
    await load(full, () => {})
    const started = performance.now()
    for (let i = 0; i < count; i += writesAtOnce) {
      for (let n = i; n < Math.min(count, i + writesAtOnce); n++) {
        full.retained.set(Publish.create({ topic: topicOf(n), payload: `${n}`, retain: true }))
      }
      while (full.durableTicket < full.lastTicket) await new Promise((resolve) => setTimeout(resolve, 1))
    }
    print('retained', `${each(performance.now() - started, count)} to store one`)
    await full.close()

    const before = heapBytes()
    const loading = performance.now()
    const store = await open()
    const unlimited = Number.POSITIVE_INFINITY
    const table = new RetainedTable(store.retained, {
      countMax: unlimited,
      bytesMax: unlimited,
      payloadBytesMax: unlimited,
      deletedCountMax: 0,
    })
    await load(store, (publish) => table.restore(publish))
    const loadMs = performance.now() - loading
    print('load', `${Math.round(loadMs)} ms for ${table.count}, ${each(loadMs, count)}; ${bytesEach(before)} B each`)
    for (const filter of [topicOf(count >> 1), 'site/7/+/state', '+/7/#', '#']) {
      let found = 0
      const ms = time(() => table.match(filter, () => found++))
      print(filter, `${ms.toFixed(2)} ms for ${found} topics`)
    }
    await store.close()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function load(store: Store, onRetained: (publish: Publish) => void): Promise<void> {
  store.bind(storeOwner())
  await store.load(storeLoader({ onRetained }))
}

function sessionOf(clientId: string): Session {
  return new Session({ clientId, version: 5, epoch: 1, expiryIntervalSeconds: 0, nextSeq: 1, waitingCountMax: 1 })
}

/** On the heap and beside it, after what nobody needs was collected. */
function heapBytes(): number {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function bytesEach(before: number): number {
  return Math.round((heapBytes() - before) / count)
}

function time(work: () => void): number {
  const start = performance.now()
  work()
  return performance.now() - start
}

function each(ms: number, times: number): string {
  return `${((ms * 1000) / times).toFixed(2)} us`
}

function print(what: string, figure: string): void {
  console.log(`${what.padEnd(28)}${figure}`)
}

subscriptions()
await retained()
