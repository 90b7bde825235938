/** The whole serial path on real ttys: socat's ptys, the real driver, and a simulated device at the other end. */
import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { PtyPair } from '../../firmware-sim/pty.ts'
import { SeededRandom } from '../../firmware-sim/seeded-random.ts'
import { WiredDevice } from '../../firmware-sim/wired-device.ts'
import { beginToOpen, descriptorCount, openLine, pairOf, pluggedPair, Rig, until } from './pty-rig.ts'

/** Those that mostly wait for a line wait together; who counts descriptors is alone. */
t.jobs = 4

t.test('readings travel from the device to the broker', { buffered: true }, async (t) => {
  const rig = await Rig.start(t, { ratePerSecond: 100, readingCount: 100 })
  await until(() => rig.wired.device.isDone)
  t.strictSame(
    rig.acceptor.readings.get('s1'),
    Array.from({ length: 100 }, (_, at) => at + 1),
  )
  t.strictSame(rig.acceptor.diary, ['accept 1', 'connect 1 s1'])
  t.equal(rig.acceptor.connections[0]?.link.remote, rig.pty.hostPath)
})

t.test(
  'an unplugged device is noticed, and taken up again after the replug without a loss',
  { buffered: true },
  async (t) => {
    const rig = await Rig.start(t, { ratePerSecond: 50, readingCount: 150 })
    for (let turn = 1; turn <= 3; turn++) {
      await until(() => rig.wired.device.acknowledged.size >= turn * 30)
      await rig.pty.unplug()
      await until(() => rig.acceptor.openCount === 0)
      t.match(rig.acceptor.diary.at(-1), /a serial device went away/)
      await rig.pty.plug()
      await until(() => rig.acceptor.openCount === 1)
    }
    await until(() => rig.wired.device.isDone)
    t.equal(rig.acceptor.distinctCount('s1'), 150)
    t.equal(rig.log.fieldsOf('serial device absent').length, 3)
    t.equal(rig.log.fieldsOf('serial device present').length, 4)
  },
)

t.test('garbage between the bytes costs time, nothing else', { buffered: true }, async (t) => {
  const rig = await Rig.start(t, { ratePerSecond: 100, readingCount: 150 })
  rig.wired.transmit.faults = { random: new SeededRandom(1), garbageRate: 2e-3, bitErrorRate: 1e-4 }
  await until(() => rig.wired.device.isDone)
  t.equal(rig.acceptor.distinctCount('s1'), 150)
  const { crcErrorCount, cobsErrorCount } = rig.listener.counters
  t.ok(crcErrorCount + cobsErrorCount > 5, `${crcErrorCount + cobsErrorCount} damaged frames`)
  t.equal(rig.acceptor.connections.length, 1, 'in one connection')
})

t.test('a device reset closes the old connection before the new one', { buffered: true }, async (t) => {
  const rig = await Rig.start(t, { ratePerSecond: 50, readingCount: 100 })
  await until(() => rig.wired.device.acknowledged.size >= 20)
  rig.wired.device.reset()
  await until(() => rig.wired.device.isDone)
  t.strictSame(rig.acceptor.diary, [
    'accept 1',
    'connect 1 s1',
    `closed 1: the network connection ended: ${rig.pty.hostPath}: peer restarted`,
    'accept 2',
    'connect 2 s1',
  ])
  t.equal(rig.acceptor.distinctCount('s1'), 100)
})

t.test('a device that is absent at the start is picked up when it appears', async (t) => {
  const rig = await Rig.start(t, { ratePerSecond: 100, readingCount: 50 }, pairOf(t))
  await rig.log.until('serial device absent', 1)
  t.match(rig.log.lines[0]?.fields, { reason: /No such file or directory/ })
  await rig.pty.plug()
  await until(() => rig.wired.device.isDone)
  t.equal(rig.acceptor.distinctCount('s1'), 50)
})

t.test('a port is taken by one opener at a time, and free once it is closed', async (t) => {
  const pty = await pluggedPair(t)
  const first = await openLine(pty.hostPath)
  const second = await openLine(pty.hostPath)
  t.match(second.closings, [/in use by another program: /])
  first.line.close()
  await until(() => first.closings.length > 0)
  t.strictSame(first.closings, ['as asked'])
  const third = await openLine(pty.hostPath)
  t.equal(third.isOpen, true)
  third.line.close()
  await until(() => third.closings.length > 0)
})

t.test('closing while the port is being opened frees it', async (t) => {
  const pty = await pluggedPair(t)
  const line = beginToOpen(pty.hostPath)
  line.line.close()
  await until(() => line.closings.length > 0)
  t.strictSame([line.isOpen, line.closings], [false, ['as asked']])
  const again = await openLine(pty.hostPath)
  t.equal(again.isOpen, true)
  again.line.close()
  await until(() => again.closings.length > 0)
})

t.test('resetOnOpen decides whether DTR falls when the port is closed', async (t) => {
  const pty = await pluggedPair(t)
  for (const resetOnOpen of [true, false, true]) {
    const line = await openLine(pty.hostPath, resetOnOpen)
    const wanted = resetOnOpen ? / hupcl/ : /-hupcl/
    await until(() => wanted.test(execFileSync('stty', ['-F', pty.hostPath, '-a']).toString()))
    line.line.close()
    await until(() => line.closings.length > 0)
  }
  t.pass('the flag follows the setting')
})

t.test('ports that cannot be opened, and ports that flap, leak no descriptors', async (t) => {
  const folder = t.testdir({ file: 'not a tty' })
  await tryToOpenEach()
  const before = descriptorCount()
  for (let turn = 0; turn < 30; turn++) await tryToOpenEach()
  const pty = await pluggedPair(t)
  for (let turn = 0; turn < 15; turn++) {
    const line = await openLine(pty.hostPath)
    line.line.write(Buffer.alloc(2000, 1))
    await pty.replug()
    await until(() => line.closings.length > 0)
    t.match(line.closings, ['a serial device went away: '])
  }
  await pty.unplug()
  // A descriptor is closed by a thread of Node, which on a busy machine comes a moment later.
  for (let waits = 0; waits < 400 && descriptorCount() > before + 2; waits++) await wait(5)
  t.ok(descriptorCount() <= before + 2, `${descriptorCount()} descriptors after ${before}`)

  async function tryToOpenEach(): Promise<void> {
    for (const path of [join(folder, 'absent'), join(folder, 'file'), folder, '/dev/null']) {
      const { closings } = await openLine(path)
      t.match(closings, [/cannot be opened/], path)
    }
  }
})

/** Half of the time at the most, also on a slow machine. */
async function isQuiet(): Promise<boolean> {
  const cpu = process.cpuUsage()
  await wait(300)
  return process.cpuUsage(cpu).user < 150_000
}

t.test('an unplug under full traffic ends at once, without a loop', async (t) => {
  const pty = await pluggedPair(t)
  for (let turn = 0; turn < 5; turn++) {
    const wired = new WiredDevice(
      { id: 's1', baudRate: 3_000_000, ratePerSecond: 0.001, readingCount: 1 },
      { path: pty.devicePath, seed: 1 },
    )
    await until(() => wired.tty.isOpen)
    const line = await openLine(pty.hostPath)
    let isRunning = true
    const flood = async (): Promise<void> => {
      while (isRunning) {
        wired.tty.write(Buffer.alloc(1000, 1))
        line.line.write(Buffer.alloc(1000, 1))
        await new Promise(setImmediate)
      }
    }
    const flooded = flood()
    await until(() => line.receivedByteCount > 50_000)
    await pty.unplug()
    await until(() => line.closings.length > 0)
    isRunning = false
    await flooded
    t.ok((await isQuiet()) || (await isQuiet()), 'collecting what the flood left takes its time once, a loop for ever')
    wired.close()
    await pty.plug()
  }
})

t.test('what the tty does not take waits, and leaves when it does', async (t) => {
  const pty = await pluggedPair(t)
  const line = await openLine(pty.hostPath)
  while (line.line.bufferedByteCount === 0) {
    line.line.write(Buffer.alloc(1000, '.'))
    await new Promise(setImmediate)
  }
  line.line.write(Buffer.from('the end'))
  // Opening the other end discards what lies in its tty, but not what waits here.
  const other = await openLine(pty.devicePath)
  await until(() => other.receivedTail.endsWith('...the end'))
  t.equal(line.line.bufferedByteCount, 0)
  other.line.write(Buffer.from('still reading'))
  await until(() => line.receivedTail === 'still reading')
  for (const { line: open } of [line, other]) open.close()
  await until(() => line.closings.length + other.closings.length === 2)
})

t.test('stop leaves neither port nor connection open', async (t) => {
  const rig = await Rig.start(t, { ratePerSecond: 50, readingCount: 1000 })
  await until(() => rig.wired.device.acknowledged.size >= 5)
  await rig.listener.stop()
  t.equal(rig.acceptor.openCount, 0)
  await until(() => !rig.wired.device.isConnected)
  t.equal(rig.log.fieldsOf('serial device absent').length, 0)
})

t.test('the command runs one device until everything is acknowledged', { buffered: true }, async (t) => {
  const rig = await Rig.start(t, { ratePerSecond: 1, readingCount: 1 })
  rig.wired.close()
  const sensor = ['--path', rig.pty.devicePath, '--id', 'cli', '--rate', '100', '--count', '50', '--bit-errors', '1e-5']
  const { stdout } = await runCommand(sensor)
  t.match(stdout, /50 produced, 50 acknowledged, 0 waiting/)
  t.equal(rig.acceptor.distinctCount('cli'), 50)
})

t.test('the command explains itself', { buffered: true }, async (t) => {
  t.match((await runCommand(['--help'])).stdout, /--bit-errors P/)
  await t.rejects(runCommand([]), { code: 2, stderr: /--path is missing/ })
  await t.rejects(runCommand(['--path', 'x', '--rate', 'fast']), { code: 2, stderr: /'fast'/ })
  await t.rejects(runCommand(['--colour']), { code: 2, stderr: /Unknown option '--colour'/ })
})

t.test('a pty pair whose socat cannot work says why', async (t) => {
  await t.rejects(new PtyPair('/nowhere/host', '/nowhere/device').plug(), /nowhere/)
  const nowhere = new PtyPair('/tmp/x', '/tmp/y', { PATH: '/nowhere' })
  await t.rejects(nowhere.plug(), /install the Debian package socat/)
})

function runCommand(args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, ['--import=tsx', 'firmware-sim/main.ts', ...args])
}
