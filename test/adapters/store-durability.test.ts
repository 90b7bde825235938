/** What a store does for the sake of messages that a power cut may take. */
import { copyFileSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { Connection } from '../../src/adapters/store-sqlite/connection.ts'
import { openSqliteStore } from '../../src/adapters/store-sqlite/open.ts'
import { Lane } from '../../src/ports/lane.ts'
import { message, StoreRun, seqs, turnEnd } from '../contract/store-run.ts'
import { KillableClock } from '../fakes/killable-clock.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'

const random = new SeededRandom(1)

function open(path: string): Promise<StoreRun> {
  const parts = { clock: new KillableClock(), random, log: new RecordingLog() }
  return StoreRun.start(openSqliteStore({ path, durability: 'disk', commitIntervalMs: 0, ...parts }))
}

/** What a killed process leaves. */
async function crash(run: StoreRun, path: string): Promise<string> {
  const copy = join(dirname(path), 'crashed', 'tidegate.db')
  mkdirSync(dirname(copy), { recursive: true })
  for (const suffix of ['', '-wal']) copyFileSync(path + suffix, copy + suffix)
  await run.store.close()
  return copy
}

t.test('a seq that a power cut may have taken is not given out again', async (t) => {
  let path = join(t.testdir(), 'tidegate.db')
  let run = await open(path)
  const { epoch } = run
  t.equal(run.store.log.append(message('a'), Lane.event, 'disk'), 1)
  await run.settle()
  t.equal(run.store.log.append(message('b'), Lane.event, 'os'), 2)
  await run.settle()
  run.store.log.append(message('c'), Lane.event, 'ram')
  await run.settle()
  path = await crash(run, path)

  run = await open(path)
  const { log } = run.store
  t.equal(run.epoch, epoch)
  t.strictSame([log.firstSeq, log.lastSeq, log.durableSeq, log.messageCount], [1, 3, 3, 3])
  const next = log.append(message('d'))
  t.ok(next > 1000, `${next}`)
  t.strictSame([log.lastSeq, log.messageCount], [next, 4])
  await run.settle()
  t.strictSame(seqs(await run.read(1)), [1, 2, 3, next])
  t.strictSame(seqs(await run.read(4)), [next], 'over what was left out')
  log.trim(2)
  t.strictSame(seqs(await run.read(1)), [3, next])
  log.trim(3)
  while (log.messageCount > 1) await turnEnd()
  t.strictSame([log.firstSeq, log.messageCount], [next, 1])
  await run.store.close()

  run = await open(path)
  t.equal(run.store.log.append(message('e')), next + 1, 'a run that ended well leaves nothing out')
  await run.store.close()
})

t.test('where every message is on the disk before it is given out, a crash leaves no seq out', async (t) => {
  let path = join(t.testdir(), 'tidegate.db')
  let run = await open(path)
  run.store.log.append(message('a'))
  await run.settle()
  path = await crash(run, path)
  run = await open(path)
  t.equal(run.store.log.append(message('b')), 2)
  await run.store.close()
})

t.test('a log of an older version that may have lost its end goes on as another one', async (t) => {
  const path = join(t.testdir(), 'tidegate.db')
  const epochs: string[] = []
  for (const durability of ['disk', 'os', undefined]) {
    const run = await open(path)
    epochs.push(run.epoch)
    await run.store.close()
    const connection = await Connection.open(path, 'create')
    if (durability !== undefined) {
      await connection.execute(
        `INSERT INTO meta VALUES ('durability', '${durability}'); ALTER TABLE retained DROP COLUMN changed_at_ms; PRAGMA user_version = 5`,
      )
    }
    await connection.close()
  }
  t.equal(epochs[1], epochs[0])
  t.not(epochs[2], epochs[0])
})

t.test('space that is to be left to others may be a share of the disk', async (t) => {
  const path = join(t.testdir(), 'tidegate.db')
  const parts = { clock: new KillableClock(), random, log: new RecordingLog(), freePercentMin: 100 }
  const run = await StoreRun.start(openSqliteStore({ path, durability: 'disk', commitIntervalMs: 0, ...parts }))
  run.store.log.append(message('a'))
  await run.settle()
  t.match(run.failures, [{ code: 'ERR_STORE_SPACE', message: /free_percent_min/ }])
  t.equal(run.store.isWritable, false)
  await run.store.close()
})
