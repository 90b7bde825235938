/**
 * The disk as the problem: the built broker on files that cannot be written, are slow, damaged or gone. New durable
 * messages are refused, QoS 0 flows, an alarm says so, and it goes on by itself.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { askBroker } from '../../src/cli/control-client.ts'
import { Peer } from '../power-cut/peer.ts'
import { builtFile } from '../power-cut/workload.ts'
import { asides, fill, mountSmall, scribble, sleep, World } from './sick-disk-world.ts'

if (!existsSync(builtFile)) execFileSync('npm', ['run', 'build'], { stdio: 'ignore' })
t.setTimeout(600_000)

for (const [fault, alarm] of [
  ['enospc', 'disk_full'],
  ['erofs', 'store_failed'],
] as const) {
  t.test(`writes fail with ${fault}`, async (t) => {
    const world = await World.start(t)
    await world.outage(alarm, () => world.fault(fault))
    await world.recovery(alarm, () => world.fault('none'))
  })
}

t.test('a file system that is full, and has space again', async (t) => {
  const mount = mountSmall(t, '3m')
  if (mount === undefined) return
  const world = await World.start(t, { dataDir: mount, env: { TIDEGATE_STORE__FREE_BYTES_MIN: '0' } })
  await world.outage('disk_full', () => fill(join(mount, 'ballast')))
  await world.recovery('disk_full', () => rmSync(join(mount, 'ballast')))
})

t.test('space that is to be left is left, and counted again when it is there', async (t) => {
  const mount = mountSmall(t, '8m')
  if (mount === undefined) return
  const world = await World.start(t, { dataDir: mount, env: { TIDEGATE_STORE__FREE_BYTES_MIN: String(4 << 20) } })
  writeFileSync(join(mount, 'ballast'), Buffer.alloc(5 << 20))
  // What is written before somebody looks is taken: there is space.
  await world.publishUntilRefused()
  t.match((await world.alarms()).active, [{ name: 'disk_full', message: /free_bytes_min/ }])
  world.publisher.publish('live', 'flows', 0)
  await world.live.until(() => world.live.received.some(({ payload }) => payload === 'flows'))
  rmSync(join(mount, 'ballast'))
  await world.alarmEnds('disk_full')
  await world.taken(9001)
})

t.test('a disk that takes half a second to sync', async (t) => {
  const world = await World.start(t)
  world.fault('slow 500')
  for (let id = 1; id <= 3; id++) {
    world.publisher.publish('d', `m${id}`, 1, id)
    const startedMs = performance.now()
    world.publisher.publish('live', `during ${id}`, 0)
    await world.live.until(() => world.live.received.some(({ payload }) => payload === `during ${id}`))
    t.notOk(world.publisher.answers.has(id), 'QoS 0 overtakes the disk')
    await world.publisher.until(() => world.publisher.answers.get(id) === 0)
    t.ok(performance.now() - startedMs >= 400, 'an acknowledgement waits for the disk')
  }
  await world.alarmBegins('disk_slow')
  world.fault('none')
  for (let id = 11; id <= 30; id++) await world.taken(id)
  await world.alarmEnds('disk_slow')
})

t.test('a store that is deleted while the broker runs is there again', async (t) => {
  const world = await World.start(t)
  await world.taken(1)
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${world.database}${suffix}`, { force: true })
  await sleep(1100)
  await world.taken(2)
  await world.alarmBegins('store_damaged')
  t.ok(existsSync(world.database))
  await world.restart()
  t.strictSame(await world.waiting(2), ['m1', 'm2'])
})

t.test('a damaged store is no reason not to start: what can be read is kept, the rest is reported', async (t) => {
  const world = await World.start(t)
  await world.fillLog(3000)
  await world.restart('SIGTERM')
  await world.node.end('SIGTERM')
  const size = statSync(world.database).size
  scribble(world.database, Math.floor(size / 2), 64 * 1024)
  await world.start()
  // Nobody has met the damage yet: it is in the middle of the log.
  const received = await world.waiting(2000)
  t.ok(received.includes('m1') && received.includes('m3000'), 'both ends are there')
  t.ok(received.length < 3000)
  await world.alarmBegins('store_damaged')
  await world.taken(9001)
  const { records } = (await askBroker(world.dataDir, 'GET', '/loss')) as {
    records: { reason: string; firstSeq: number; lastSeq: number }[]
  }
  const hole = records.find(({ reason }) => reason === 'quarantined')
  const missing = Array.from({ length: 3000 }, (_, i) => i + 1).filter((n) => !received.includes(`m${n}`))
  t.ok(
    hole !== undefined && missing.every((n) => n >= hole.firstSeq && n <= hole.lastSeq),
    'the ledger names what is missing',
  )
  t.equal(asides(world).length, 1)
})

t.test('a file that is no database at all is put aside', async (t) => {
  const world = await World.start(t)
  await world.taken(1)
  await world.node.end('SIGKILL')
  rmSync(`${world.database}-wal`)
  writeFileSync(world.database, 'not a database, by any means '.repeat(1000))
  await world.start()
  t.match((await world.alarms()).active, [{ name: 'store_damaged' }])
  t.match(await askBroker(world.dataDir, 'GET', '/loss'), { records: [{ reason: 'quarantined', firstSeq: 0 }] })
  t.equal(asides(world).length, 1)
  const back = await Peer.connect(world.node.port, 'away')
  await back.subscribe('d', 1)
  await world.taken(2)
  await back.until(() => back.received.length === 1)
  back.close()
})

t.test('a store of somebody else is refused with his name', async (t) => {
  const nobody = 65_534
  const dataDir = t.testdir({ 'tidegate.db': '' })
  // `env -i`: the test runner gives every process it knows of a part of its own, which would write where nobody may.
  const run = (...args: string[]) =>
    spawnSync('env', ['-i', `TIDEGATE_DATA_DIR=${dataDir}`, process.execPath, builtFile, ...args], {
      uid: nobody,
      encoding: 'utf8',
    })
  const isRunnable = process.getuid?.() === 0 && run('--version').status === 0
  if (!isRunnable) return t.comment('left out: needs root, and files that everybody may read')
  const { status, stderr } = run('edge')
  t.equal(status, 2)
  t.match(stderr, /^tidegate: the data directory cannot be used: .*belongs to user 0, this is 65534.*ERR_DATA_DIR/)
})
