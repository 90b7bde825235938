import { join } from 'node:path'
import t from 'tap'
import { Connection } from '../../src/adapters/store-sqlite/connection.ts'
import {
  type ExcessRow,
  type LogStatements,
  SqliteMessageLog,
  type StartRow,
} from '../../src/adapters/store-sqlite/message-log.ts'
import type { PackedRow } from '../../src/adapters/store-sqlite/packed-messages.ts'
import { laneExcess, laneRead, laneStart, logRead } from '../../src/adapters/store-sqlite/schema.ts'
import { type Lane, lanes } from '../../src/ports/lane.ts'

const firstKept = { seq: 1, number: 1, startByte: 0 }

async function statementsOf(connection: Connection): Promise<LogStatements> {
  for (const lane of lanes) {
    await connection.execute(`CREATE TABLE log_${lane} (seq INTEGER PRIMARY KEY, number, start_byte, at_ms, flags,
      expires_at_ms, publisher, topic, properties, payload)`)
  }
  const ofEachLane = <Row>(sql: (lane: Lane) => string) =>
    Promise.all(lanes.map((lane) => connection.prepare<Row>(sql(lane))))
  return {
    logRead: await connection.prepare<PackedRow>(logRead),
    laneRead: await ofEachLane<PackedRow>(laneRead),
    laneStart: await ofEachLane<StartRow>(laneStart),
    laneExcess: await ofEachLane<ExcessRow>(laneExcess),
  }
}

t.test('a lane is not empty because its file could not be asked where it goes on', async (t) => {
  const directory = t.testdir()
  const old = await Connection.open(join(directory, 'old.db'), 'create')
  const oldStatements = await statementsOf(old)
  await old.close()
  const empty = { first: undefined, lastSeq: 0, lastNumber: 0, endByte: 0 }
  const full = { first: firstKept, lastSeq: 10, lastNumber: 10, endByte: 100 }
  const extent = { lastSeq: 10, trimmedSeq: 0, seqCeiling: 0, lanes: lanes.map((lane) => (lane === 1 ? full : empty)) }
  const failures: string[] = []
  const on = { trim: () => undefined, readError: ({ code }: { code: string }) => failures.push(code) }
  const log = new SqliteMessageLog(
    'tidegate.db',
    extent,
    oldStatements,
    () => t.fail('nothing is written') as never,
    on,
  )
  log.trim(4)
  while (failures.length === 0) await new Promise(setImmediate)
  t.strictSame(failures, ['SQLITE_MISUSE'])
  t.equal(log.firstSeq, 5)
  t.ok(log.messageCount >= 6, 'what cannot be read now is not gone')

  const mended = await Connection.open(join(directory, 'mended.db'), 'create')
  const statements = await statementsOf(mended)
  await mended.execute("INSERT INTO log_1 (seq, number, start_byte, topic, payload) VALUES (7, 7, 60, 'a', x'00')")
  log.readFrom(statements)
  await mended.close()
  t.equal(log.firstSeq, 7, 'the file that takes its place is asked again')
  t.equal(log.messageCount, 4)
})
