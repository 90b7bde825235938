import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { byteCountOf } from '../../src/adapters/store-memory/lane-queue.ts'
import { Connection } from '../../src/adapters/store-sqlite/connection.ts'
import { openSqliteStore, readTimeline } from '../../src/adapters/store-sqlite/open.ts'
import type { SqliteStoreOptions } from '../../src/adapters/store-sqlite/store.ts'
import { Lane } from '../../src/ports/lane.ts'
import type { Store } from '../../src/ports/store.ts'
import { storeContract } from '../contract/store.ts'
import { type BrokenDisk, everything, message, StoreRun, seqs, sessionRecord, turnEnd } from '../contract/store-run.ts'
import { KillableClock } from '../fakes/killable-clock.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'

const random = new SeededRandom(1)

function options(path: string, changes: Partial<SqliteStoreOptions> = {}): SqliteStoreOptions {
  const clock = changes.clock ?? new KillableClock()
  return { path, durability: 'disk', commitIntervalMs: 0, clock, random, log: new RecordingLog(), ...changes }
}

function newPath(t: Test): string {
  return join(t.testdir(), 'store', 'tidegate.db')
}

let directoryCount = 0

storeContract(t, 'sqlite', async (t) => {
  const directory = t.testdir({})
  const nextPath = (): string => join(directory, `${++directoryCount}`, 'tidegate.db')
  let path = nextPath()
  let clock = new KillableClock()
  const open = (): Promise<Store> => {
    clock = new KillableClock()
    return openSqliteStore(options(path, { clock }))
  }
  return {
    open,
    // What a killed process leaves: the files as they are at this instant, taken while the store is at work.
    crash: async (store) => {
      const crashed = path
      path = nextPath()
      mkdirSync(dirname(path), { recursive: true })
      for (const suffix of ['', '-wal']) copyFileSync(crashed + suffix, path + suffix)
      await store.close()
      return open()
    },
    breakDisk: () => lockOut(path, clock),
  }
})

/** Somebody else takes the write lock of the file. */
async function lockOut(path: string, clock: KillableClock): Promise<BrokenDisk> {
  const intruder = await Connection.open(path, 'create')
  await intruder.execute('BEGIN IMMEDIATE')
  return {
    retry: async () => {
      clock.advanceMs(1000)
      while (clock.timerCount === 0) await turnEnd()
    },
    mend: async () => {
      await intruder.execute('ROLLBACK')
      await intruder.close()
      clock.advanceMs(1000)
    },
  }
}

t.test('what was reported durable is there after kill -9, without a gap', async (t) => {
  const path = newPath(t)
  let reportedSeq = 0
  for (let round = 0; round < 3; round++) {
    const writer = spawn(process.execPath, ['--import=tsx', 'test/fixtures/store-writer.ts', path])
    writer.stderr.pipe(process.stderr)
    const killAfterSeq = reportedSeq + 2000 + random.below(8000)
    const lines = createInterface({ input: writer.stdout })
    lines.on('line', (line) => {
      reportedSeq = Number(line)
      if (reportedSeq > killAfterSeq) writer.kill('SIGKILL')
    })
    await Promise.all([once(writer, 'exit'), once(lines, 'close')])

    t.ok(await readTimeline(path))
    const run = await StoreRun.start(openSqliteStore(options(path)))
    const { log } = run.store
    t.ok(log.lastSeq >= reportedSeq, `${log.lastSeq} messages, ${reportedSeq} were reported`)
    t.ok(log.firstSeq === 1 || log.firstSeq <= log.lastSeq - 4999, 'no more was trimmed than asked')
    t.equal(run.marks.get('lane')?.seq, log.lastSeq)
    t.equal(run.sessions.get('reader')?.cursor, log.lastSeq)
    let next = log.firstSeq
    while (next <= log.lastSeq) {
      const messages = await run.read(next)
      for (const { seq, publish } of messages) {
        if (seq !== next || Number(publish.payload.toString()) !== seq) t.fail(`message ${next} reads as ${seq}`)
        next++
      }
    }
    await run.store.close()
  }
})

t.test('one process at a time: the store of another one is refused until that ends, however it ends', async (t) => {
  const path = newPath(t)
  const store = await openSqliteStore(options(path))
  await t.rejects(openSqliteStore(options(path)), { code: 'ERR_STORE_IN_USE' })
  await store.close()

  const writer = spawn(process.execPath, ['--import=tsx', 'test/fixtures/store-writer.ts', path])
  await once(writer.stdout, 'data')
  await t.rejects(openSqliteStore(options(path)), { code: 'ERR_STORE_IN_USE' })
  writer.kill('SIGKILL')
  await once(writer, 'exit')
  await (await openSqliteStore(options(path))).close()
})

t.test('a file of an older version is brought forward', async (t) => {
  const path = newPath(t)
  mkdirSync(dirname(path))
  copyFileSync('test/fixtures/store-schema-2.db', path)
  let run = await StoreRun.start(openSqliteStore(options(path)))
  const { log } = run.store
  t.strictSame([run.epoch, log.firstSeq, log.lastSeq, log.messageCount], ['0123456789abcdef', 11, 50, 40])
  const read = await run.read(1)
  t.strictSame(seqs(read), range(11, 50))
  for (const { seq, publish, lane, atMs } of read) {
    t.strictSame([publish.payload.toString(), lane, atMs], [`reading ${seq}`, Lane.event, Number.POSITIVE_INFINITY])
  }
  t.equal(
    log.byteCount,
    read.reduce((sum, { publish }) => sum + byteCountOf(publish), 0),
  )
  t.match(run.sessions.get('reader'), { cursor: 20, epoch: 3, outbound: [{ seq: 21 }, { seq: 22, qos: 2 }] })
  t.strictSame(run.inbox, ['reader 9'])
  t.equal(run.retained[0]?.topic, 'plant/state')
  t.equal(run.marks.get('gateway-1/1')?.seq, 7)

  t.equal(log.append(message('a')), 51)
  t.equal(log.append(message('a'), Lane.control), 52)
  log.trim(30)
  await run.store.close()
  run = await StoreRun.start(openSqliteStore(options(path)))
  t.strictSame(seqs(await run.read(1)), range(31, 52))
  t.strictSame(
    run.store.log.extents.map(({ messageCount }) => messageCount),
    [1, 21, 0, 0],
  )
  await run.store.close()
})

t.test('a store that cannot be opened says why', async (t) => {
  const directory = t.testdir({ file: 'in the way' })
  const path = join(directory, 'tidegate.db')
  await t.rejects(openSqliteStore(options(join(directory, 'file', 'tidegate.db'))), { code: 'ERR_DATA_DIR' })
  await t.rejects(openSqliteStore(options(directory)), { code: 'ERR_DATA_DIR' })

  await (await openSqliteStore(options(path))).close()
  const connection = await Connection.open(path, 'create')
  await connection.execute('PRAGMA user_version = 1000')
  await connection.close()
  await t.rejects(openSqliteStore(options(path)), { code: 'ERR_STORE_NEWER' })
  t.equal(await readTimeline(path), undefined)
})

t.test('old messages are read from the file, without holding up commits, and never in memory twice', async (t) => {
  const path = newPath(t)
  let run = await StoreRun.start(openSqliteStore(options(path)))
  for (let i = 1; i <= 10_000; i++) run.store.log.append(message(`t/${i}`, 20))
  await run.settle()
  const answered: string[] = []
  run.store.log.read(1, everything, ([first]) => answered.push(`file ${first?.seq}`))
  run.store.log.read(9_000, everything, ([first]) => answered.push(`memory ${first?.seq}`))
  t.strictSame(answered, ['memory 9000'])
  t.equal((await run.read(1)).length, 1000)
  t.strictSame(answered, ['memory 9000', 'file 1'])

  t.equal(run.store.log.messageCount, 10_000)
  const byteCount = run.store.log.byteCount
  await run.store.close()
  run = await StoreRun.start(openSqliteStore(options(path)))
  t.equal(run.store.log.messageCount, 10_000, 'known without counting')
  t.equal(run.store.log.byteCount, byteCount)
  let next = 1
  while (next <= 10_000) {
    const messages = await run.read(next, { countMax: 300, bytesMax: 5000 })
    for (const { seq, publish } of messages)
      if (seq !== next++ || publish.topic !== `t/${seq}`) t.fail(`message ${seq}`)
  }
  await run.store.close()
})

t.test('what becomes durable can be read at once in `onDurable`, however much it is', async (t) => {
  const store = await openSqliteStore(options(newPath(t)))
  let seenSeq = 0
  const durable = new Promise<void>((resolve, reject) => {
    store.bind({
      onDurable: () => {
        store.log.read(1, { countMax: 10_000, bytesMax: 100_000_000 }, (messages) => {
          seenSeq = messages.at(-1)?.seq ?? 0
        })
        resolve()
      },
      onFailure: reject,
      onRecovered: reject,
    })
  })
  for (let i = 1; i <= 10_000; i++) store.log.append(message('t', 1000))
  await durable
  t.equal(seenSeq, 10_000)
  await store.close()
})

t.test('a long log is trimmed in steps, each joined to a commit', async (t) => {
  const { path, clock, run } = await longLog(t)
  run.store.log.trim(4999)
  run.store.log.trim(9500)
  t.equal(run.store.log.firstSeq, 9501)
  t.strictSame(seqs(await run.read(1, { countMax: 1 })), [9501], 'out of reach at once')
  await run.read(1)
  t.equal(run.store.log.messageCount, 500)
  t.equal(run.store.log.byteCount, 500 * 21)
  t.equal(await rowCount(path), 10_000)
  run.store.marks.set('any', { epoch: 'e', seq: 1 })
  await run.settle()
  let left = 10_000 - 1024
  t.equal(await rowCount(path), left)
  while (left > 500) {
    left = Math.max(500, left - 1024)
    clock.advanceMs(10_000)
    await run.settle()
    t.equal(await rowCount(path), left)
  }
  t.equal(clock.timerCount, 0)
  await run.store.close()
})

t.test('an urgent commit leaves trimming to others, for a while', async (t) => {
  const { path, clock, run } = await longLog(t)
  run.store.log.trim(9500)
  await run.read(1)
  run.store.marks.set('any', { epoch: 'e', seq: 1 })
  await run.settle()
  t.equal(await rowCount(path), 10_000 - 1024)
  run.store.log.append(message('command', 20), Lane.control)
  await run.settle()
  t.equal(await rowCount(path), 10_000 - 1024, 'the command is stored, and no more')
  clock.advanceMs(100)
  run.store.log.append(message('command', 20), Lane.control)
  await run.settle()
  t.equal(await rowCount(path), 10_000 - 2048)
  await run.store.close()
})

/** With 10 000 messages, all of them stored. */
async function longLog(t: Test): Promise<{ path: string; clock: KillableClock; run: StoreRun }> {
  const path = newPath(t)
  const clock = new KillableClock()
  const run = await StoreRun.start(openSqliteStore(options(path, { clock })))
  for (let i = 1; i <= 10_000; i++) run.store.log.append(message('t', 20))
  await run.settle()
  return { path, clock, run }
}

async function rowCount(path: string): Promise<number> {
  const connection = await Connection.open(path, 'read')
  const [row] = await connection.rows<{ n: number }>('SELECT count(*) AS n FROM log_1')
  await connection.close()
  return row?.n ?? -1
}

t.test('the size of what is left is known although what was trimmed is not in memory', async (t) => {
  const path = newPath(t)
  let run = await StoreRun.start(openSqliteStore(options(path)))
  for (let i = 1; i <= 100; i++) run.store.log.append(message('t', i))
  await run.store.close()
  run = await StoreRun.start(openSqliteStore(options(path)))
  run.store.log.trim(97)
  run.store.log.trim(98)
  while (run.store.log.byteCount > 201) await turnEnd()
  t.equal(run.store.log.byteCount, 100 + 101)
  run.store.log.trim(100)
  t.equal(run.store.log.byteCount, 0)
  await run.store.close()
})

t.test('seqs and sizes beyond 32 bits are kept', async (t) => {
  const path = newPath(t)
  const far = 2 ** 40
  await (await openSqliteStore(options(path))).close()
  const connection = await Connection.open(path, 'create')
  await connection.execute(`INSERT INTO meta VALUES ('trimmed_to', ${far});
    INSERT INTO log_1 VALUES (${far + 1}, ${far}, 0, NULL, '', 't', NULL, x'00', ${far}, 0)`)
  await connection.close()
  let run = await StoreRun.start(openSqliteStore(options(path)))
  for (let i = 2; i <= 5; i++) t.equal(run.store.log.append(message('t', i)), far + i)
  run.store.log.trim(far + 2)
  await run.store.close()
  run = await StoreRun.start(openSqliteStore(options(path)))
  t.strictSame(seqs(await run.read(1)), [far + 3, far + 4, far + 5])
  t.equal(run.store.log.byteCount, 4 + 5 + 6)
  await run.store.close()
})

t.test('writes wait for others to share their commit, unless there are many', async (t) => {
  const clock = new KillableClock()
  const run = await StoreRun.start(openSqliteStore(options(newPath(t), { clock, commitIntervalMs: 50 })))
  run.store.log.append(message('a'))
  clock.advanceMs(30)
  await turnEnd()
  run.store.log.append(message('a'))
  clock.advanceMs(19)
  await turnEnd()
  t.strictSame(run.tickets, [])
  clock.advanceMs(1)
  await run.settle()
  t.strictSame(run.tickets, [1])
  t.equal(run.store.log.durableSeq, 2)

  for (let i = 0; i < 3; i++) run.store.log.append(message('large', 200_000))
  await run.until(() => run.tickets.includes(2))
  t.equal(run.store.log.durableSeq, 5)
  t.equal(clock.timerCount, 0)

  run.store.log.append(message('a'))
  await run.store.close()
  t.equal(run.store.log.durableSeq, 6, 'closing does not wait')
})

t.test('a full disk loses nothing and goes on once enough is trimmed', async (t) => {
  const path = newPath(t)
  const clock = new KillableClock()
  let run = await StoreRun.start(openSqliteStore(options(path, { clock, sizeBytesMax: 4_000_000 })))
  const { log } = run.store
  for (let i = 0; i < 20_000; i++) log.append(message('t', 100))
  await run.settle()
  const large = log.append(message('t', 3_000_000))
  await run.until(() => run.failures.length > 0)
  t.equal(run.failures[0]?.code, 'ERR_STORE_FULL')
  run.store.sessions.save(sessionRecord('waits behind the large message'))
  clock.advanceMs(1000)
  while (clock.timerCount === 0) await turnEnd()
  t.equal(run.store.isWritable, false)
  t.equal(log.durableSeq, large - 1)

  log.trim(large - 10)
  clock.advanceMs(1000)
  await run.settle()
  t.equal(run.recoveredCount, 1)
  await run.store.close()
  run = await StoreRun.start(openSqliteStore(options(path)))
  t.strictSame(seqs(await run.read(1)), range(large - 9, large - 1))
  t.strictSame(seqs(await run.read(large)), [large])
  t.ok(run.sessions.has('waits behind the large message'))
  await run.store.close()
})

t.test('a store that cannot be written closes with the failure', async (t) => {
  const path = newPath(t)
  const run = await StoreRun.start(openSqliteStore(options(path, { sizeBytesMax: 500_000 })))
  run.store.log.append(message('fits'))
  await run.settle()
  run.store.log.append(message('does not fit', 1_000_000))
  await t.rejects(run.store.close(), { code: 'ERR_STORE_FULL' })
  const next = await StoreRun.start(openSqliteStore(options(path)))
  t.strictSame(seqs(await next.read(1)), [1])
  await next.store.close()
})

t.test('the timeline outlives the process, and never stands before anything stored', async (t) => {
  const path = newPath(t)
  t.equal(await readTimeline(path), undefined)
  const clock = new KillableClock(5000)
  const run = await StoreRun.start(openSqliteStore(options(path, { clock })))
  t.equal(await readTimeline(path), undefined)
  for (const stepMs of [0, 9_999, 2]) {
    clock.advanceMs(stepMs)
    run.store.log.append(message('a'))
    await run.settle()
    const lastMs = (await readTimeline(path))?.lastMs ?? 0
    t.ok(lastMs >= clock.nowMs() && lastMs <= clock.nowMs() + 10_000, `${lastMs} at ${clock.nowMs()}`)
  }
  clock.advanceMs(5)
  await run.store.close()
  t.strictSame(await readTimeline(path), { bootId: 'boot', offsetMs: 0, lastMs: 15_006 })
})

t.test('only the database and its lock are left when the store is closed', async (t) => {
  const path = newPath(t)
  const run = await StoreRun.start(openSqliteStore(options(path)))
  run.store.log.append(message('a'))
  await run.store.close()
  t.ok(existsSync(path))
  t.notOk(existsSync(`${path}-wal`))
  writeFileSync(`${path}-lock`, '')
  await (await openSqliteStore(options(path))).close()
})

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}
