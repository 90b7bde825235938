/** The built broker, started on a disk that is full or read-only: it runs, says so, and goes on by itself. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { substitutePaths } from '../../src/admin/control-path.ts'
import { temporaryFolder } from '../power-cut/disk.ts'
import { Peer } from '../power-cut/peer.ts'
import { builtFile } from '../power-cut/workload.ts'
import { asides, fill, mountSmall, scribble, sleep, World } from './sick-disk-world.ts'

if (!existsSync(builtFile)) execFileSync('npm', ['run', 'build'], { stdio: 'ignore' })
t.setTimeout(600_000)
/** They mostly wait. */
t.jobs = 3

const noSpaceLeftAlone = {
  TIDEGATE_STORE__FREE_BYTES_MIN: '0',
  TIDEGATE_STORE__FREE_PERCENT_MIN: '0',
  // On a busy machine an outage may last longer than a subscription waits.
  TIDEGATE_STORE__SUBSCRIBE_WAIT_SECONDS_MAX: '600',
}

t.test('a broker starts on a full disk, and keeps messages once there is space', { buffered: true }, async (t) => {
  const mount = mountSmall(t, '3m')
  if (mount === undefined) return
  fill(join(mount, 'ballast'))
  const world = await World.startFull(t, { dataDir: mount, env: noSpaceLeftAlone })
  await world.alarmBegins('disk_full')
  const away = await Peer.connect(world.node.port, 'away')
  let isAnswered = false
  const subscribed = away.subscribe('d', 1).then(() => {
    isAnswered = true
  })
  await world.refused(3)
  t.notOk(isAnswered, 'a subscription that is to last waits for the disk')
  rmSync(join(mount, 'ballast'))
  await world.alarmEnds('disk_full')
  await subscribed
  away.close()
  await world.taken(5)
  await world.restart()
  t.strictSame(await world.waiting(1), ['m5'])
})

t.test('what a store holds can be read although the broker starts on a full disk', { buffered: true }, async (t) => {
  const mount = mountSmall(t, '3m')
  if (mount === undefined) return
  const world = await World.start(t, { dataDir: mount, env: noSpaceLeftAlone })
  await world.taken(1)
  world.publisher.publish('kept', 'retained', 1, 2, true)
  await world.publisher.until(() => world.publisher.answers.has(2))
  // Nothing but the database is left.
  await world.node.end('SIGTERM')
  fill(join(mount, 'ballast'))
  await world.start()
  t.strictSame(await world.waiting(1), ['m1'])
  const reader = await Peer.connect(world.node.port, 'reader')
  await reader.subscribe('kept', 0)
  await reader.until(() => reader.received.some(({ payload }) => payload === 'retained'))
  for (let id = 10; !(await world.alarms()).active.some(({ name }) => name === 'disk_full'); id++) {
    world.publisher.publish('d', `m${id}`.padEnd(60_000, '.'), 1, id)
    await sleep(100)
  }
  await world.refused(9000)
  rmSync(join(mount, 'ballast'))
  await world.alarmEnds('disk_full')
  await world.taken(9001)
})

const readOnly = {
  alarm: 'store_failed',
  place: existsSync('/run/tidegate') ? '/run/tidegate' : tmpdir(),
  begin: ({ dataDir }: World) => remount(dataDir, 'ro'),
  end: ({ dataDir }: World) => remount(dataDir, 'rw'),
}
/** With a directory that systemd would make for it. */
const readOnlyService = { ...readOnly, place: temporaryFolder() }
t.teardown(() => rmSync(readOnlyService.place, { recursive: true }))
const fullWithoutReserve = {
  alarm: 'disk_full',
  place: undefined,
  begin: ({ dataDir, database }: World) => {
    rmSync(`${database}-reserve`)
    fill(join(dataDir, 'ballast'))
  },
  end: ({ dataDir }: World) => rmSync(join(dataDir, 'ballast')),
}

for (const [title, signal, outage] of [
  ['that was stopped can be read on a read-only file system', 'SIGTERM', readOnlyService],
  ['that was killed can be read on a read-only file system', 'SIGKILL', readOnly],
  ['can be read on a full disk without the reserve', 'SIGTERM', fullWithoutReserve],
] as const) {
  t.test(`a store ${title}, and written once that can be`, { buffered: true }, async (t) => {
    const mount = mountSmall(t, '3m')
    if (mount === undefined) return
    const told = outage === readOnlyService ? { RUNTIME_DIRECTORY: outage.place } : {}
    const world = await World.start(t, { dataDir: mount, env: { ...noSpaceLeftAlone, ...told } })
    await world.taken(1)
    world.publisher.publish('kept', 'retained', 1, 2, true)
    await world.publisher.until(() => world.publisher.answers.has(2))
    await world.node.end(signal)
    outage.begin(world)
    await world.start('full')
    if (outage.place !== undefined) answersElsewhere(t, mount, outage.place, told)
    const watcher = await Peer.connect(world.node.port, 'watcher')
    // It takes effect at once; its answer waits for the disk.
    watcher.subscribe('$SYS/brokers/+/alarms/+', 0).catch(() => undefined)
    const retained = ['-p', `${world.node.port}`, '-t', 'kept', '-C', '1', '-W', '120']
    t.equal(execFileSync('mosquitto_sub', retained, { encoding: 'utf8' }), 'retained\n')
    t.strictSame(await world.waiting(1), ['m1'])
    await world.refused(3)
    outage.end(world)
    await watcher.until(() => watcher.received.some(({ topic }) => topic.endsWith('/deactivate')))
    t.match(watcher.received.at(-1)?.payload, `"name":"${outage.alarm}"`)
    await world.taken(5)
    await world.restart()
    t.strictSame(await world.waiting(1), ['m5'], 'what was given out meanwhile was written down')
  })
}

t.test('a store found damaged once it can be written gives way to a new one', { buffered: true }, async (t) => {
  const mount = mountSmall(t, '8m')
  if (mount === undefined) return
  const world = await World.start(t, { dataDir: mount, env: noSpaceLeftAlone })
  await world.taken(1)
  await world.node.end('SIGTERM')
  remount(mount, 'ro')
  await world.start('full')
  await world.refused(3)
  remount(mount, 'rw')
  scribble(world.database, 0, 4096)
  await world.alarmBegins('store_damaged')
  t.equal(asides(world).length, 1, 'what was there is put aside')
  await world.taken(5)
  await world.restart()
  t.ok((await world.waiting(1)).includes('m5'))
})

t.test(
  'a start is refused with the reason where what is stored cannot be read without writing',
  { buffered: true },
  async (t) => {
    const mount = mountSmall(t, '8m')
    if (mount === undefined) return
    const world = await World.start(t, { dataDir: mount, env: noSpaceLeftAlone })
    await world.taken(1)
    await world.node.end('SIGKILL')
    rmSync(`${world.database}-shm`)
    remount(mount, 'ro')
    // Without what the test runner gives every process it knows of.
    const args = ['-i', `TIDEGATE_DATA_DIR=${mount}`, process.execPath, builtFile, 'edge']
    const { status, stderr } = spawnSync('env', args, { encoding: 'utf8', timeout: 30_000 })
    t.equal(status, 2)
    t.match(stderr, new RegExp(`^tidegate: the data directory .*${world.database}: the file system is read-only`, 'm'))
    t.match(stderr, 'writable')
  },
)

/** The broker cannot make its control socket where it belongs: it is elsewhere, and `ctl` finds it. */
function answersElsewhere(t: Test, dataDir: string, place: string, told: NodeJS.ProcessEnv): void {
  const found = substitutePaths(dataDir, told).filter(({ path }) => existsSync(path))
  t.strictSame(
    found.map(({ path }) => [dirname(path), statSync(path).mode & 0o777]),
    [[place, 0o600]],
  )
  const args = [builtFile, 'ctl', 'alarms', '--data-dir', dataDir]
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8', env: { ...process.env, ...told } })
  t.equal(status, 0)
  t.match(stdout, 'store_failed')
}

function remount(mount: string, mode: 'ro' | 'rw'): void {
  execFileSync('mount', ['-o', `remount,${mode}`, mount])
}
