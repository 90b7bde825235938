/** The built broker, started on a disk that is full: it runs, says so, and goes on by itself. */
import { execFileSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Peer } from '../power-cut/peer.ts'
import { builtFile } from '../power-cut/workload.ts'
import { fill, mountSmall, sleep, World } from './sick-disk-world.ts'

if (!existsSync(builtFile)) execFileSync('npm', ['run', 'build'], { stdio: 'ignore' })
t.setTimeout(230_000)

const noSpaceLeftAlone = { TIDEGATE_STORE__FREE_BYTES_MIN: '0', TIDEGATE_STORE__FREE_PERCENT_MIN: '0' }

t.test('a broker starts on a full disk, and keeps messages once there is space', async (t) => {
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

t.test('what a store holds can be read although the broker starts on a full disk', async (t) => {
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
