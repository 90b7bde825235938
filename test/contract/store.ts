/**
 * What every store promises (src/ports/store.ts): one test per promise, in the same words. A crash is part of it:
 * an adapter says how a store is left in the middle of its work and opened again.
 */
import fc from 'fast-check'
import type { Test } from 'tap'
import { lanes } from '../../src/ports/lane.ts'
import type { ReadLimit } from '../../src/ports/store.ts'
import { laneContract } from './store-lanes.ts'
import { recordContract } from './store-records.ts'
import {
  anyMessage,
  borrowed,
  everything,
  type MakeStore,
  message,
  nothing,
  oneOfEach,
  StoreRun,
  seqs,
  toPlain,
  turnEnd,
  writeOneOfEach,
} from './store-run.ts'

export function storeContract(t: Test, name: string, makeStore: MakeStore): void {
  // Thousands of commits, on a machine that may have a slow disk and other work.
  t.setTimeout(600_000)
  t.test(name, async (t) => {
    commitContract(t, makeStore)
    logContract(t, makeStore)
    laneContract(t, makeStore)
    recordContract(t, makeStore)
  })
}

function commitContract(t: Test, makeStore: MakeStore): void {
  t.test(
    'everything written before `lastTicket` was read is durable once `onDurable` came with that ticket',
    async (t) => {
      const harness = await makeStore(t)
      const run = await StoreRun.start(harness.open())
      writeOneOfEach(run.store)
      const ticket = run.store.lastTicket
      await run.until(() => run.tickets.includes(ticket))
      t.equal(run.store.durableTicket, ticket)
      t.equal(run.store.log.durableSeq, 1)
      const next = await StoreRun.start(harness.crash(run.store))
      t.strictSame(await next.content(), oneOfEach)
      await next.store.close()
    },
  )

  t.test('`onDurable` comes also for a write that changes nothing', async (t) => {
    const run = await StoreRun.start((await makeStore(t)).open())
    const { sessions, inbox, retained } = run.store
    const writes = [
      () => sessions.saveCursor('nobody', 7),
      () => sessions.saveOutbound('nobody', { packetId: 1, seq: 1, qos: 2, isReleased: false }),
      () => sessions.remove('nobody'),
      () => inbox.release('nobody', 1),
      () => inbox.clear('nobody'),
      () => retained.clear('nothing'),
    ]
    for (const write of writes) {
      write()
      await run.settle()
    }
    t.equal(run.tickets.length, writes.length)
    await run.store.close()
  })

  t.test(
    '`beforeCommit` comes before a group commit is written, and what is written inside it joins that commit',
    async (t) => {
      const harness = await makeStore(t)
      const run = await StoreRun.start(harness.open())
      let count = 0
      run.beforeCommit = () => run.store.marks.set('joined', { epoch: 'e', seq: ++count })
      for (let commit = 1; commit <= 3; commit++) {
        run.store.log.append(message(`commit ${commit}`))
        const ticket = run.store.lastTicket
        await run.settle()
        t.equal(run.store.durableTicket, ticket, 'no commit of its own')
        t.equal(count, commit)
      }
      const next = await StoreRun.start(harness.crash(run.store))
      t.strictSame(next.marks.get('joined'), { epoch: 'e', seq: 3 })
      await next.store.close()
    },
  )

  t.test('`onDurable` comes with rising tickets, never inside a write', async (t) => {
    const run = await StoreRun.start((await makeStore(t)).open())
    for (let turn = 0; turn < 20; turn++) {
      const countBefore = run.tickets.length
      for (let i = 0; i < 5; i++) {
        run.store.log.append(message(`turn ${turn}`))
        run.store.marks.set('lane', { epoch: 'e', seq: turn })
      }
      if (run.tickets.length !== countBefore) t.fail('onDurable inside a write')
      if (turn % 3 === 1) await run.settle()
      else await turnEnd()
    }
    t.ok(run.tickets.length > 1)
    t.strictSame(
      run.tickets,
      [...run.tickets].sort((a, b) => a - b),
    )
    t.equal(new Set(run.tickets).size, run.tickets.length)
    await run.store.close()
  })

  t.test('a group commit is all or nothing: after a crash either all of its writes are there or none', async (t) => {
    for (let turns = 0; turns < 6; turns++) {
      const harness = await makeStore(t)
      const run = await StoreRun.start(harness.open())
      writeOneOfEach(run.store)
      for (let turn = 0; turn < turns; turn++) await turnEnd()
      const next = await StoreRun.start(harness.crash(run.store))
      t.strictSame(await next.content(), next.store.log.lastSeq === 1 ? oneOfEach : nothing)
      await next.store.close()
    }
  })

  t.test(
    'group commits become durable in order: after a crash no later one is there without every earlier one',
    async (t) => {
      for (let turns = 0; turns < 6; turns++) {
        const harness = await makeStore(t)
        const run = await StoreRun.start(harness.open())
        for (let i = 1; i <= 10 + turns; i++) {
          run.store.log.append(message(`message ${i}`))
          run.store.marks.set(`mark ${i}`, { epoch: 'e', seq: i })
          await turnEnd()
        }
        const durableSeq = run.store.log.durableSeq
        const next = await StoreRun.start(harness.crash(run.store))
        const { messages, marks } = await next.content()
        t.ok(next.store.log.lastSeq >= durableSeq)
        t.strictSame(
          messages.map(({ topic }) => topic),
          messages.map((_, index) => `message ${index + 1}`),
        )
        t.strictSame(
          [...marks.keys()],
          messages.map((_, index) => `mark ${index + 1}`),
        )
        await next.store.close()
      }
    },
  )

  t.test(
    'a commit that fails is tried again until it holds, and `onFailure` tells once per outage; nothing is dropped',
    async (t) => {
      const harness = await makeStore(t)
      if (harness.breakDisk === undefined) {
        t.pass('commits of this store cannot fail')
        return
      }
      const run = await StoreRun.start(harness.open())
      for (let outage = 1; outage <= 2; outage++) {
        const disk = await harness.breakDisk()
        run.store.log.append(message('first of an outage'))
        await run.until(() => run.failures.length === outage)
        t.equal(run.store.isWritable, false)
        t.equal(run.failures.at(-1)?.isRetryable, true)
        run.store.log.append(message('during the outage'))
        await disk.retry()
        await disk.retry()
        t.equal(run.failures.length, outage, 'told once')
        t.equal(run.recoveredCount, outage - 1)
        await disk.mend()
        await run.settle()
        t.equal(run.recoveredCount, outage)
        t.equal(run.store.isWritable, true)
      }
      const next = await StoreRun.start(harness.crash(run.store))
      t.equal((await next.content()).messages.length, 4)
      await next.store.close()
    },
  )

  t.test('`close` makes everything written durable before it resolves', async (t) => {
    const harness = await makeStore(t)
    const run = await StoreRun.start(harness.open())
    writeOneOfEach(run.store)
    const closed = run.store.close()
    t.equal(await run.store.close(), await closed, 'closing twice is closing')
    t.equal(run.tickets.length, 1)
    const next = await StoreRun.start(harness.open())
    t.strictSame(await next.content(), oneOfEach)
    await next.store.close()
  })

  t.test('the epoch stays as long as the log and differs between logs', async (t) => {
    const harness = await makeStore(t)
    const first = await StoreRun.start(harness.open())
    t.match(first.epoch, /^[0-9a-f]{16}$/)
    const second = await StoreRun.start(harness.crash(first.store))
    t.equal(second.epoch, first.epoch)
    await second.store.close()
    const other = await StoreRun.start((await makeStore(t)).open())
    t.not(other.epoch, first.epoch)
    await other.store.close()
  })
}

function logContract(t: Test, makeStore: MakeStore): void {
  t.test('`append` answers the next seq, whatever the lane; seqs are dense and rise across restarts', async (t) => {
    const harness = await makeStore(t)
    let next = 1
    for (const trim of [false, true, false]) {
      const run = await StoreRun.start(harness.open())
      t.equal(run.store.log.lastSeq, next - 1)
      for (let i = 0; i < 3; i++) t.equal(run.store.log.append(message('a'), lanes[i]), next++)
      await run.settle()
      if (trim) {
        run.store.log.trim(next - 1)
        t.equal(run.store.log.append(message('b')), next++)
        await run.settle()
        run.store.log.trim(next - 1)
      }
      await run.store.close()
    }
  })

  t.test(
    'a message reads back with the topic, payload, QoS, retain flag, properties, expiry and publisher it was appended with',
    async (t) => {
      const harness = await makeStore(t)
      const run = await StoreRun.start(harness.open())
      const originals = fc.sample(anyMessage(), { numRuns: 100, ...seedOption() })
      // Half of them as they come from a link: a view on bytes that change once the turn is over.
      const chunks: Buffer[] = []
      const expected = originals.map((publish, index) => {
        const plain = toPlain(publish)
        run.store.log.append(index % 2 === 0 ? publish : borrowed(publish, chunks))
        return plain
      })
      for (const chunk of chunks) chunk.fill(0xff)
      await run.settle()
      t.strictSame((await run.readAll()).map(toPlain), expected)
      await run.store.close()
      const next = await StoreRun.start(harness.open())
      t.strictSame((await next.readAll()).map(toPlain), expected)
      await next.store.close()
    },
  )

  t.test(
    '`read` answers durable messages only, in rising order, beginning with the first at or after `from`',
    async (t) => {
      const harness = await makeStore(t)
      let run = await StoreRun.start(harness.open())
      for (let i = 0; i < 10; i++) run.store.log.append(message('a'))
      t.strictSame(await run.read(1), [], 'nothing is durable yet')
      await run.settle()
      run.store.log.append(message('b'))
      for (const reopened of [false, true]) {
        t.strictSame(seqs(await run.read(0)), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
        t.strictSame(seqs(await run.read(8)), [8, 9, 10])
        t.strictSame(seqs(await run.read(8, { countMax: 2 })), [8, 9])
        t.strictSame(await run.read(11), [])
        t.strictSame(await run.read(99), [])
        if (!reopened) run = await StoreRun.start(harness.crash(run.store))
      }
      await run.store.close()
    },
  )

  t.test(
    '`read` answers at least one message when one is durable at or after `from`, whatever the limits',
    async (t) => {
      const harness = await makeStore(t)
      let run = await StoreRun.start(harness.open())
      for (const bytes of [100, 10, 10, 10, 100]) run.store.log.append(message('t', bytes - 1))
      await run.settle()
      for (const reopened of [false, true]) {
        t.strictSame(seqs(await run.read(1, { bytesMax: 0 })), [1])
        t.strictSame(seqs(await run.read(2, { bytesMax: 1 })), [2])
        t.strictSame(seqs(await run.read(2, { bytesMax: 29 })), [2, 3])
        t.strictSame(seqs(await run.read(2, { bytesMax: 30 })), [2, 3, 4])
        t.strictSame(seqs(await run.read(5, { bytesMax: 99, countMax: 0 })), [5])
        if (!reopened) run = await StoreRun.start(harness.crash(run.store))
      }
      await run.store.close()
    },
  )

  t.test(
    '`read` answers inside the call when the messages are in memory, later otherwise; exactly once either way',
    async (t) => {
      const harness = await makeStore(t)
      const run = await StoreRun.start(harness.open())
      for (let i = 0; i < 10; i++) run.store.log.append(message('a'))
      await run.settle()
      let answerCount = 0
      run.store.log.read(1, everything, () => answerCount++)
      t.equal(answerCount, 1)
      const next = await StoreRun.start(harness.crash(run.store))
      next.store.log.append(message('a'))
      await next.settle()
      for (const from of [1, 5, 11]) next.store.log.read(from, everything, () => answerCount++)
      await next.read(2)
      await next.store.close()
      t.equal(answerCount, 4, 'closing leaves no question open')
    },
  )

  t.test('after `trim(upTo)` messages up to `upTo` are not read any more, others are', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    for (let i = 1; i <= 10; i++) run.store.log.append(message('t', i))
    run.store.log.trim(3)
    await run.settle()
    t.strictSame(seqs(await run.read(4)), [4, 5, 6, 7, 8, 9, 10])
    run.store.log.trim(2)
    run.store.log.append(message('t', 11))
    await run.settle()
    t.equal(run.store.log.firstSeq, 4)
    t.equal(run.store.log.messageCount, 8)
    t.equal(run.store.log.byteCount, 4 + 5 + 6 + 7 + 8 + 9 + 10 + 11 + 8)
    run = await StoreRun.start(harness.crash(run.store))
    t.strictSame(seqs(await run.read(4)), [4, 5, 6, 7, 8, 9, 10, 11])
    run.store.log.trim(10)
    run.store.log.append(message('t', 12))
    await run.settle()
    run.store.log.trim(11)
    run.store.log.append(message('t', 13))
    await run.settle()
    t.strictSame(seqs(await run.read(1)), [12, 13])
    await run.store.close()
    run = await StoreRun.start(harness.open())
    t.strictSame(seqs(await run.read(12)), [12, 13])
    run.store.log.trim(99)
    run.store.log.append(message('t', 14))
    await run.settle()
    t.strictSame(seqs(await run.read(1)), [14])
    t.equal(run.store.log.byteCount, 15)
    await run.store.close()
  })

  t.test('any sequence of appends, trims, reads and crashes agrees with a plain list', async (t) => {
    const step = fc.oneof(
      fc.record({ append: fc.array(fc.nat(300), { minLength: 1, maxLength: 20 }) }),
      fc.record({ trim: fc.nat(60) }),
      fc.record({ read: fc.nat(60), countMax: fc.integer({ min: 1, max: 20 }), bytesMax: fc.nat(1500) }),
      fc.record({ crash: fc.constant(true) }),
    )
    const property = fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
      const harness = await makeStore(t)
      let run = await StoreRun.start(harness.open())
      let trimmedSeq = 0
      const sizes: number[] = []
      for (const step of steps) {
        if ('append' in step) {
          for (const size of step.append) run.store.log.append(message('t', size))
          sizes.push(...step.append.map((size) => size + 1))
          await run.settle()
        } else if ('trim' in step) {
          run.store.log.trim(step.trim)
          trimmedSeq = Math.max(trimmedSeq, Math.min(step.trim, sizes.length))
        } else if ('crash' in step) {
          run = await StoreRun.start(harness.crash(run.store))
        } else {
          const got = await run.read(Math.max(step.read, trimmedSeq + 1), step)
          t.strictSame(
            got.map(({ seq, publish }) => [seq, publish.payloadByteCount + 1]),
            expectedRead(sizes, Math.max(step.read, trimmedSeq + 1), step),
          )
        }
      }
      t.equal(run.store.log.lastSeq, sizes.length)
      await run.store.close()
    })
    await fc.assert(property, { numRuns: 15, ...seedOption() })
  })
}

/** What a log of messages with these sizes answers; the first has seq 1. */
function expectedRead(sizes: readonly number[], from: number, limit: ReadLimit): [seq: number, size: number][] {
  const answer: [number, number][] = []
  let bytes = 0
  for (let seq = from; seq <= sizes.length && answer.length < limit.countMax; seq++) {
    const size = sizes[seq - 1] as number
    bytes += size
    if (bytes > limit.bytesMax && answer.length > 0) break
    answer.push([seq, size])
  }
  return answer
}

/** `SEED=n` repeats a run. */
function seedOption(): { seed?: number } {
  const { SEED } = process.env
  return SEED === undefined ? {} : { seed: Number(SEED) }
}
