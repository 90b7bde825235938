/** How fast a bridge sends, when its backlog will be empty, and how it really is: the pure parts. */
import t from 'tap'
import { DrainRate } from '../../src/bridge/drain.ts'
import { Health } from '../../src/bridge/health.ts'
import { Pacer } from '../../src/bridge/pacer.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

/** Each sends what the window allows, which is all there when the timed one is. */
function rounds(pacer: Pacer, clock: VirtualClock, count: number, roundTripMs: (window: number) => number): void {
  for (let round = 0; round < count; round++) {
    const { window } = pacer
    const ms = roundTripMs(window)
    pacer.sent(1)
    clock.advanceMs(ms)
    for (let n = 2; n <= window; n++) pacer.acknowledged(n)
    pacer.acknowledged(1)
  }
}

/** A line with a queue: answers take no less than `ms`, and `perMs` messages go over it in a millisecond. */
function line(ms: number, perMs: number): (window: number) => number {
  return (window) => Math.max(ms, window / perMs)
}

function newPacer(windowMax: number): { pacer: Pacer; clock: VirtualClock } {
  const clock = new VirtualClock()
  const pacer = new Pacer(clock, undefined)
  pacer.connected(windowMax)
  return { pacer, clock }
}

t.test('the window opens while answers are quick, and half of the line again is under way', async (t) => {
  const { pacer, clock } = newPacer(4096)
  t.equal(pacer.window, 64, 'a new line is tried first')
  // 200 messages fill this one.
  rounds(pacer, clock, 60, line(10, 20))
  t.equal(pacer.window, 300)
  rounds(pacer, clock, 20_000, line(10, 20))
  t.ok(pacer.window <= 300, 'a queue does not become usual, however long it stands')
})

t.test('the window is that of the connection on a long line', async (t) => {
  const { pacer, clock } = newPacer(1024)
  rounds(pacer, clock, 60, line(100, 20))
  t.equal(pacer.window, 1024)
  for (let n = 0; n < 100; n++) pacer.slowDown()
  t.equal(pacer.window, 4, 'the remote side has enough; never shut')
  pacer.connected(2)
  t.equal(pacer.window, 2, 'mosquitto#3002: no more than the Receive Maximum')
})

t.test('an answer that is slow now and then says nothing', async (t) => {
  const { pacer, clock } = newPacer(512)
  rounds(pacer, clock, 60, line(50, 20))
  let number = 0
  for (let n = 0; n < 100; n++) {
    rounds(pacer, clock, 1, () => (++number % 3 === 0 ? 500 : 50))
    if (n % 3 === 0) continue
    t.ok(pacer.window === 512 || pacer.window === 128, 'all of it, or a quarter to look what is usual')
  }
})

t.test('a line that became longer is used as before, one that became slow is not filled', async (t) => {
  const { pacer, clock } = newPacer(512)
  rounds(pacer, clock, 100, line(20, 20))
  rounds(pacer, clock, 100, line(300, 20))
  t.equal(pacer.window, 512)
  rounds(pacer, clock, 300, line(50, 1))
  t.ok(pacer.window >= 50 && pacer.window <= 75, `${pacer.window}, where 50 fill the line`)
})

t.test('a slow line is tried gently', async (t) => {
  const { pacer, clock } = newPacer(1024)
  // 10 messages fill it, and 64 are a queue from the beginning.
  rounds(pacer, clock, 600, line(100, 0.1))
  t.ok(pacer.window >= 10 && pacer.window <= 20, `${pacer.window}`)
})

t.test('a few live messages say nothing about the window', async (t) => {
  const { pacer, clock } = newPacer(1024)
  rounds(pacer, clock, 60, line(10, 40))
  const { window } = pacer
  for (let n = 0; n < 1000; n++) {
    pacer.sent(1)
    clock.advanceMs(100)
    pacer.acknowledged(1)
  }
  t.equal(pacer.window, window)
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
