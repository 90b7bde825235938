/** What was dropped on purpose: recorded, put together, kept across restarts, readable by an ordinary client. */
import t from 'tap'
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import { Ledger } from '../../src/broker/ledger.ts'
import { type LossRecord, logScope, manyScope } from '../../src/ports/ledger.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const day = 86_400_000

function newLedger(clock = new VirtualClock()): {
  ledger: Ledger
  stored: Map<number, LossRecord>
  clock: VirtualClock
} {
  const stored = new Map<number, LossRecord>()
  const store = {
    put: (record: LossRecord) => stored.set(record.number, record),
    remove: (number: number) => stored.delete(number),
  }
  const ledger = new Ledger(store, clock)
  ledger.restoreEpoch('e')
  return { ledger, stored, clock }
}

t.test('drops of one kind that follow one another are one record', (t) => {
  const { ledger, stored, clock } = newLedger()
  for (const seq of [5, 6, 9]) ledger.dropped('expired', 'a', 1, seq)
  ledger.dropped('expired', 'b', 1, 5)
  ledger.dropped('expired', 'a', 2, 5)
  ledger.dropped('too_large', 'a', 1, 5)
  t.equal(stored.size, 4)
  t.match(stored.get(1), { reason: 'expired', scope: 'a', lane: 1, epoch: 'e', firstSeq: 5, lastSeq: 9, count: 3 })
  clock.advanceMs(61_000)
  ledger.dropped('expired', 'a', 1, 20)
  t.match(stored.get(5), { firstSeq: 20, lastSeq: 20, count: 1, sinceMs: clock.wallMs() }, 'later is another record')
  t.match(ledger.summary(), { count: 7, countByReason: { expired: 6, too_large: 1 } })
  t.end()
})

t.test('seqs of different logs are never one range', (t) => {
  const { ledger, stored } = newLedger()
  ledger.dropped('expired', 'a', 0, 5)
  ledger.restoreEpoch('f')
  ledger.dropped('expired', 'a', 0, 1)
  t.match(
    [...stored.values()],
    [
      { epoch: 'e', firstSeq: 5, lastSeq: 5 },
      { epoch: 'f', firstSeq: 1, lastSeq: 1 },
    ],
  )
  t.end()
})

t.test('the ledger stays small, and its sums true', (t) => {
  const { ledger, stored, clock } = newLedger()
  for (let i = 1; i <= 1000; i++) {
    ledger.dropped('expired', `client ${i}`, 0, i)
    if (i % 10 === 0) ledger.dropped('too_large', 'one', 0, i)
    if (i % 100 === 0) clock.advanceMs(day)
  }
  const range = { scope: 'x', lane: 0, firstSeq: 1, lastSeq: 2, count: undefined }
  ledger.droppedRange({ ...range, reason: 'session_expired' })
  t.ok(stored.size <= 256)
  t.strictSame(ledger.summary().countByReason, { expired: 1000, too_large: 100, session_expired: 0 })
  t.equal(ledger.summary().count, 1100)
  const merged = ledger.summary().records.filter(({ scope }) => scope === manyScope)
  t.ok(merged.length > 0)
  t.ok(
    merged.every(({ reason, firstSeq, lastSeq, count = 0 }) => reason === 'expired' && count <= lastSeq - firstSeq + 1),
  )
  t.strictSame([...stored.values()], ledger.summary().records)
  t.end()
})

t.test('what was dropped is known after a restart, and goes on in the same record', async (t) => {
  const clock = new VirtualClock()
  const disk = new MemoryDisk()
  const open = () => new MemoryStore({ clock, random: new SeededRandom(1), disk })
  const settings = { backlogCountMax: 1000 }
  let broker = await TestBroker.start({ clock, store: open(), settings })
  overflow(broker, 1500)
  t.match(broker.broker.losses.records, [
    { reason: 'backlog_full', scope: logScope, firstSeq: 1, lastSeq: 500, count: 500 },
  ])

  broker = await TestBroker.start({ clock, store: open(), settings })
  t.equal(broker.broker.losses.count, 500)
  overflow(broker, 100)
  t.match(broker.broker.losses.records, [{ firstSeq: 1, lastSeq: 600, count: 600 }])
})

t.test('an ordinary client reads the summary, which comes no more often than every 5 s', async (t) => {
  const broker = await TestBroker.start({ settings: { backlogCountMax: 1000 } })
  const reader = broker.connect({ clientId: 'r' })
  t.strictSame(reader.subscribe('$edge/loss'), [0])
  broker.passMs(10_000)
  t.strictSame(reader.takePayloads(), [], 'nothing was lost')
  overflow(broker, 1100)
  overflow(broker, 100)
  overflow(broker, 100)
  t.equal(summaries(reader).length, 1)
  broker.passMs(5000)
  t.match(summaries(reader), [{ count: 300, countByReason: { backlog_full: 300 }, records: [{ count: 300 }] }])
  broker.passMs(60_000)
  t.strictSame(summaries(reader), [])
  const later = broker.connect({ clientId: 'l' })
  later.subscribe('$edge/loss')
  t.match(summaries(later), [{ count: 300 }], 'retained')
})

t.test('messages that expired in the log are recorded for the session that did not get them', async (t) => {
  const broker = await TestBroker.start()
  await leaveSession(broker, 's')
  const publisher = broker.connect({ clientId: 'p', version: 5 })
  publisher.publish('a', 'stays', { qos: 1 })
  for (let i = 0; i < 3; i++) publisher.publish('a', 'goes', { qos: 1, properties: { messageExpiryInterval: 1 } })
  broker.passMs(2000)
  t.equal(broker.broker.losses.count, 0, 'not before somebody would have got them')
  const back = broker.connect({ clientId: 's', cleanStart: false })
  t.strictSame(back.takePayloads(), ['stays'])
  t.match(broker.broker.losses.records, [{ reason: 'expired', scope: 's', firstSeq: 2, lastSeq: 4, count: 3 }])
})

t.test('a packet that the client refuses for its size is recorded', async (t) => {
  const broker = await TestBroker.start()
  await leaveSession(broker, 's')
  broker.connect({ clientId: 'p' }).publish('a', 'x'.repeat(500), { qos: 1 })
  const properties = { sessionExpiryInterval: 3600, maximumPacketSize: 100 }
  broker.connect({ clientId: 's', version: 5, cleanStart: false, properties })
  t.match(broker.broker.losses.records, [{ reason: 'too_large', scope: 's', firstSeq: 1, count: 1 }])
})

t.test('a session that expires with messages waiting is recorded, one that had seen all is not', async (t) => {
  const broker = await TestBroker.start()
  await leaveSession(broker, 'behind')
  broker.connect({ clientId: 'p' }).publish('a', 'x', { qos: 1 })
  await leaveSession(broker, 'up to date')
  broker.passMs(3_700_000)
  t.match(broker.broker.losses.records, [
    { reason: 'session_expired', scope: 'behind', firstSeq: 1, lastSeq: 1, count: undefined },
  ])
})

/** A durable session on `a` whose client is away. */
async function leaveSession(broker: TestBroker, clientId: string): Promise<void> {
  const client = broker.connect({ clientId, cleanStart: false })
  client.subscribe('a', { qos: 1 })
  client.disconnect()
}

/** Publishes `count` messages for a session that is away, and lets the log be trimmed. */
function overflow(broker: TestBroker, count: number): void {
  const away = broker.connect({ clientId: 'away', cleanStart: false })
  away.subscribe('t', { qos: 1 })
  away.drop()
  const publisher = broker.connect({ clientId: 'p', cleanStart: true })
  for (let i = 0; i < count; i++) publisher.publish('t', 'x', { qos: 1, packetId: (i % 10) + 1 })
  publisher.disconnect()
  broker.passMs(1000)
}

function summaries(client: TestClient): unknown[] {
  return client.takePayloads().map((payload) => JSON.parse(payload))
}
