/** The part of the store's contract (store.ts) that is about the lanes of the log. */
import type { Test } from 'tap'
import { Lane, lanes } from '../../src/ports/lane.ts'
import type { Excess, LaneBounds, MessageLog } from '../../src/ports/store.ts'
import { everything, type MakeStore, message, StoreRun, seqs } from './store-run.ts'

const { control, event, telemetry, bulk } = Lane

const unbounded: LaneBounds = {
  countMax: Number.POSITIVE_INFINITY,
  bytesMax: Number.POSITIVE_INFINITY,
  notBeforeMs: Number.NEGATIVE_INFINITY,
}

export function laneContract(t: Test, makeStore: MakeStore): void {
  t.test('a message reads back with its lane, and with the time of the group commit that it joined', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    for (const lane of [...lanes, telemetry]) run.store.log.append(message('a'), lane)
    run.store.log.append(message('a'))
    await run.settle()
    const atMs = (await run.read(1)).map((stored) => stored.atMs)
    for (const each of atMs) t.equal(each, atMs[0])
    for (const reopened of [false, true]) {
      const read = await run.read(1)
      t.strictSame(
        read.map(({ lane }) => lane),
        [control, event, telemetry, bulk, telemetry, event],
      )
      t.strictSame(
        read.map((stored) => stored.atMs),
        atMs.map(Math.floor),
      )
      if (!reopened) run = await StoreRun.start(harness.crash(run.store))
    }
    await run.store.close()
  })

  t.test('`read` of a lane answers the messages of that lane only', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    for (let seq = 1; seq <= 12; seq++) run.store.log.append(message('a', 9), lanes[seq % 4])
    await run.settle()
    for (const reopened of [false, true]) {
      t.strictSame(seqs(await run.read(1, { lane: control })), [4, 8, 12])
      t.strictSame(seqs(await run.read(5, { lane: control })), [8, 12])
      t.strictSame(seqs(await run.read(5, { lane: bulk, countMax: 1 })), [7])
      t.strictSame(seqs(await run.read(5, { lane: bulk, bytesMax: 1 })), [7])
      t.strictSame(seqs(await run.read(1, { lane: bulk, bytesMax: 20 })), [3, 7])
      t.strictSame(seqs(await run.read(12, { lane: bulk })), [])
      t.strictSame(seqs(await run.read(3, { bytesMax: 30 })), [3, 4, 5])
      t.strictSame(seqs(await run.read(3, { countMax: 4 })), [3, 4, 5, 6])
      if (!reopened) run = await StoreRun.start(harness.crash(run.store))
    }
    await run.store.close()
  })

  t.test('after `trim(upTo, lane)` messages of that lane up to `upTo` are not read any more, others are', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    for (let seq = 1; seq <= 12; seq++) run.store.log.append(message('a'), lanes[seq % 4])
    run.store.log.trim(8, event)
    run.store.log.trim(3, bulk)
    await run.settle()
    t.strictSame(seqs(await run.read(1)), [2, 4, 6, 7, 8, 9, 10, 11, 12])
    t.equal(run.store.log.firstSeq, 2)
    run.store.log.trim(12, telemetry)
    run.store.log.append(message('a'), telemetry)
    await run.settle()
    const left = [4, 7, 8, 9, 11, 12, 13]
    t.strictSame(seqs(await run.read(1)), left)
    await run.store.close()
    run = await StoreRun.start(harness.open())
    t.strictSame(seqs(await run.read(1)), left)
    t.equal(run.store.log.append(message('a'), control), 14)
    await run.settle()
    run.store.log.trim(14)
    run.store.log.append(message('a'), bulk)
    await run.settle()
    t.strictSame(seqs(await run.read(1)), [15])
    await run.store.close()
  })

  t.test('count and bytes of each lane are those of its messages that were not trimmed', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    for (let seq = 1; seq <= 40; seq++) run.store.log.append(message('a', seq), lanes[seq % 4])
    const kept = new Map(lanes.map((lane) => [lane, new Set<number>()]))
    for (let seq = 1; seq <= 40; seq++) kept.get(lanes[seq % 4] as Lane)?.add(seq)
    const check = (): void => {
      for (const lane of lanes) {
        const sizes = [...(kept.get(lane) ?? [])].map((seq) => seq + 1)
        const { messageCount, byteCount } = run.store.log.extents[lane] ?? {}
        t.strictSame([messageCount, byteCount], [sizes.length, sizes.reduce((sum, size) => sum + size, 0)])
      }
    }
    const trim = async (upTo: number, lane: Lane): Promise<void> => {
      run.store.log.trim(upTo, lane)
      for (const seq of [...(kept.get(lane) ?? [])]) if (seq <= upTo) kept.get(lane)?.delete(seq)
      run.store.marks.set('any', { epoch: 'e', seq: 1 })
      await run.settle()
      await run.read(1)
      await run.read(1)
    }
    check()
    await trim(20, event)
    await trim(40, bulk)
    check()
    await run.store.close()
    run = await StoreRun.start(harness.open())
    check()
    await trim(33, event)
    await trim(7, control)
    check()
    await run.store.close()
    run = await StoreRun.start(harness.open())
    check()
    await run.store.close()
  })

  t.test(
    '`findExcess` answers the oldest messages of a lane that are over the bounds, some of them if they are many',
    async (t) => {
      const harness = await makeStore(t)
      let run = await StoreRun.start(harness.open())
      for (let seq = 1; seq <= 20; seq++) run.store.log.append(message('a', 9), seq % 2 === 0 ? telemetry : event)
      await run.settle()
      const { atMs } = (await run.read(1))[0] ?? { atMs: 0 }
      for (const reopened of [false, true]) {
        const { log } = run.store
        t.equal(await excessOf(log, telemetry, unbounded), undefined)
        t.equal(await excessOf(log, telemetry, { ...unbounded, countMax: 10 }), undefined)
        t.equal(await excessOf(log, control, { ...unbounded, countMax: 0 }), undefined)
        t.strictSame(await excessOf(log, telemetry, { ...unbounded, countMax: 7 }), excess(2, 6, 3))
        t.strictSame(await excessOf(log, event, { ...unbounded, bytesMax: 79 }), excess(1, 5, 3))
        t.strictSame(await excessOf(log, event, { ...unbounded, bytesMax: 80 }), excess(1, 3, 2))
        t.strictSame(await excessOf(log, event, { ...unbounded, notBeforeMs: atMs }), undefined)
        t.strictSame(await excessOf(log, event, { ...unbounded, notBeforeMs: atMs + 1 }), excess(1, 19, 10))
        if (!reopened) run = await StoreRun.start(harness.crash(run.store))
      }
      run.store.log.trim(9, event)
      await run.read(1)
      t.strictSame(await excessOf(run.store.log, event, { ...unbounded, countMax: 2 }), excess(11, 15, 3))
      for (let i = 0; i < 5000; i++) run.store.log.append(message('a'), bulk)
      await run.settle()
      const first = await excessOf(run.store.log, bulk, { ...unbounded, countMax: 100 })
      t.equal(first?.firstSeq, 21)
      t.ok((first?.count ?? 0) >= 1000 && (first?.count ?? 0) <= 4900, `${first?.count} of 4900 at once`)
      await run.store.close()
    },
  )

  t.test('a long log in several lanes reads as a whole and lane by lane', async (t) => {
    const harness = await makeStore(t)
    let run = await StoreRun.start(harness.open())
    const laneOf = (seq: number): Lane => lanes[(seq * 7 + (seq >> 3)) % 4] as Lane
    for (let seq = 1; seq <= 9000; seq++) run.store.log.append(message('a', seq % 50), laneOf(seq))
    await run.settle()
    run = await StoreRun.start(harness.crash(run.store))
    for (const lane of [undefined, ...lanes]) {
      let next = 1
      let count = 0
      for (;;) {
        const read = await run.read(next, { countMax: 300, bytesMax: 9000, lane })
        if (read.length === 0) break
        for (const stored of read) {
          if (stored.seq < next || stored.lane !== laneOf(stored.seq)) t.fail(`message ${stored.seq}`)
          if (stored.publish.payloadByteCount !== stored.seq % 50) t.fail(`payload of ${stored.seq}`)
          next = stored.seq + 1
          count++
        }
      }
      const expected = lane === undefined ? 9000 : run.store.log.extents[lane]?.messageCount
      t.equal(count, expected)
    }
    t.ok(everything.countMax < 9000)
    await run.store.close()
  })
}

function excess(firstSeq: number, lastSeq: number, count: number): Excess {
  return { firstSeq, lastSeq, count }
}

function excessOf(log: MessageLog, lane: Lane, bounds: LaneBounds): Promise<Excess | undefined> {
  return new Promise((resolve, reject) => {
    log.findExcess(lane, bounds, (found, failure) => (failure === undefined ? resolve(found) : reject(failure)))
  })
}
