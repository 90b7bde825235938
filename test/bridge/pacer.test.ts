/** How fast a bridge sends, when its backlog will be empty, and how it really is: the pure parts. */
import t from 'tap'
import { DrainRate } from '../../src/bridge/drain.ts'
import { Health } from '../../src/bridge/health.ts'
import { Pacer } from '../../src/bridge/pacer.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

function rounds(pacer: Pacer, clock: VirtualClock, count: number, roundTripMs: number): void {
  for (let n = 1; n <= count; n++) {
    pacer.sent(n)
    clock.advanceMs(roundTripMs)
    pacer.acknowledged(n)
  }
}

t.test('the window opens while answers are quick and closes when they become slow', async (t) => {
  const clock = new VirtualClock()
  const pacer = new Pacer(clock, undefined)
  pacer.connected(512)
  t.equal(pacer.window, 64, 'a new line is tried first')
  rounds(pacer, clock, 10, 50)
  t.equal(pacer.window, 512, 'and trusted soon')
  rounds(pacer, clock, 3, 400)
  t.equal(pacer.window, Math.floor(512 * 0.7 ** 3))
  rounds(pacer, clock, 5, 100)
  t.equal(pacer.window, Math.floor(512 * 0.7 ** 3), 'neither quick nor slow')
  rounds(pacer, clock, 100, 50)
  t.equal(pacer.window, 512)
  for (let n = 0; n < 100; n++) pacer.slowDown()
  t.equal(pacer.window, 4, 'never shut')
  pacer.connected(2)
  t.equal(pacer.window, 2, 'mosquitto#3002: no more than the Receive Maximum')
})

t.test('on a line that answers at once nothing is slow', async (t) => {
  const clock = new VirtualClock()
  const pacer = new Pacer(clock, undefined)
  pacer.connected(512)
  rounds(pacer, clock, 20, 1)
  rounds(pacer, clock, 20, 25)
  t.equal(pacer.window, 512)
})

t.test('an asked rate is kept, with its burst after a pause', async (t) => {
  const clock = new VirtualClock()
  const pacer = new Pacer(clock, { rate: 100, burst: 10 })
  let sent = 0
  for (let ms = 0; ms < 10_000; ms++) {
    while (pacer.waitMs === 0) {
      pacer.sent(0)
      sent++
    }
    clock.advanceMs(1)
  }
  t.ok(Math.abs(sent - 1010) <= 2, `${sent} in ten seconds`)
  t.ok(pacer.waitMs > 0 && pacer.waitMs <= 10)
  pacer.setPace(undefined)
  t.equal(pacer.waitMs, 0)
})

t.test('time to empty is right within a fifth while a backlog shrinks evenly', async (t) => {
  const drain = new DrainRate()
  let count = 6_048_000
  drain.begin(count, 0)
  t.equal(drain.timeToEmptyMs(count), undefined, 'too early')
  for (let second = 1; second <= 600; second++) {
    // 20 000 a second go out, unevenly, and 10 a second come in.
    count -= 20_000 + (second % 2 === 0 ? 5000 : -5000) - 10
    drain.observe(count, second * 1000)
    if (second < 5 || count <= 0) continue
    const truth = (count / 19_990) * 1000
    const told = drain.timeToEmptyMs(count) ?? 0
    if (count > 200_000) t.ok(Math.abs(told - truth) <= truth / 5, `${told} at ${truth}`)
  }
  drain.observe(0, 700_000)
  t.equal(drain.timeToEmptyMs(0), 0)
  drain.begin(10, 800_000)
  drain.observe(20, 806_000)
  t.equal(drain.timeToEmptyMs(20), Number.POSITIVE_INFINITY, 'it grows')
  drain.end()
  t.equal(drain.timeToEmptyMs(20), Number.POSITIVE_INFINITY, 'it stands')
})

t.test('time to empty is right within a fifth although the drain begins slowly', async (t) => {
  for (const size of [300_000, 6_048_000]) {
    const drain = new DrainRate()
    let count = size
    // A line that is tried first, in a process that has just started: up to 20 000 a second within four seconds.
    const counts: number[] = [count]
    for (let second = 1; count > 0; second++) {
      count -= Math.min(count, Math.min(1, second / 4) * 20_000 + (second % 3) * 1000 - 1000)
      counts.push(count)
    }
    drain.begin(size, 0)
    for (let second = 1; second < counts.length; second++) {
      const left = counts[second] as number
      drain.observe(left, second * 1000)
      if (second < 7 || left < 100_000) continue
      const truth = (counts.length - 1 - second) * 1000
      const told = drain.timeToEmptyMs(left) ?? 0
      t.ok(Math.abs(told - truth) <= truth / 5, `${size}: ${told} at ${truth}`)
    }
  }
})

t.test('hivemq-edge#1290: a bridge is well only while its probes come back from a commit', async (t) => {
  const health = new Health(30_000, 20_000)
  t.equal(health.stateAt(0), 'offline')
  health.connected(0)
  t.equal(health.dueProbe([7], 0), 1)
  t.equal(health.dueProbe([7], 1000), undefined, 'one at a time')
  health.answered(1, [{ epoch: 'aa', seq: 7 }], 'aa', 50)
  t.equal(health.stateAt(50), 'ok')
  t.equal(health.dueProbe([9], 20_000), undefined)
  t.equal(health.dueProbe([9], 30_000), 2)
  t.equal(health.stateAt(30_500), 'ok')
  t.equal(health.stateAt(33_000), 'degraded', 'it takes much longer than before')
  t.equal(health.stateAt(50_000), 'stuck', 'connected, and the probe does not come back')
  health.answered(2, [{ epoch: 'aa', seq: 8 }], 'aa', 51_000)
  t.equal(health.stateAt(51_000), 'lying', '9 was acknowledged')
  health.dueProbe([9], 81_000)
  health.answered(3, [{ epoch: 'aa', seq: 12 }], 'aa', 81_010)
  t.equal(health.stateAt(81_010), 'ok')
  health.observe(true, 90_000)
  t.equal(health.stateAt(102_000), 'stuck', 'messages wait and none is acknowledged')
  health.progressed(102_000)
  t.equal(health.stateAt(102_000), 'ok')
  health.disconnected()
  t.equal(health.stateAt(102_000), 'offline')
})
