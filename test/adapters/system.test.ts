import t from 'tap'
import { createSystemClock } from '../../src/adapters/system/clock.ts'
import { systemRandom } from '../../src/adapters/system/random.ts'

t.test('a timeline begins at 0 and never goes back', async (t) => {
  const clock = createSystemClock(undefined)
  let lastMs = 0
  for (let i = 0; i < 1000; i++) {
    const nowMs = clock.nowMs()
    if (nowMs < lastMs) t.fail(`${nowMs} after ${lastMs}`)
    lastMs = nowMs
  }
  t.ok(lastMs < 1000)
  t.ok(Math.abs(clock.wallMs() - Date.now()) < 1000)
})

t.test('in the same run of the machine the timeline counts the time between two processes', async (t) => {
  const first = createSystemClock({ bootId: 'earlier', offsetMs: 0, lastMs: 50_000 })
  const second = createSystemClock(first.timeline())
  const betweenMs = second.nowMs() - first.nowMs()
  t.ok(betweenMs > -0.01 && betweenMs < 100, `one timeline, ${betweenMs} ms apart`)
})

t.test('after a power-up the timeline goes on where it was', async (t) => {
  const clock = createSystemClock({ bootId: 'earlier', offsetMs: 1e12, lastMs: 50_000 })
  t.ok(clock.nowMs() >= 50_000 && clock.nowMs() < 51_000)
  t.not(clock.timeline().bootId, 'earlier')
})

t.test('tasks and timers never run inside the call, and not at all once cancelled', async (t) => {
  const clock = createSystemClock(undefined)
  const seen: string[] = []
  clock.afterTurn(() => seen.push('turn'))
  clock.after(5, () => seen.push('cancelled')).cancel()
  const far = clock.after(2 ** 31 + 1000, () => seen.push('far'))
  const startMs = clock.nowMs()
  await new Promise<void>((resolve) => {
    clock.after(20, () => {
      seen.push('timer')
      resolve()
    })
    t.strictSame(seen, [])
  })
  far.cancel()
  t.ok(clock.nowMs() - startMs >= 19)
  t.strictSame(seen, ['turn', 'timer'])
})

t.test('random numbers lie in [0, 1) and hex has two digits a byte', async (t) => {
  for (let i = 0; i < 1000; i++) {
    const number = systemRandom.next()
    if (number < 0 || number >= 1) t.fail(`${number}`)
  }
  t.match(systemRandom.hex(8), /^[0-9a-f]{16}$/)
  t.not(systemRandom.hex(8), systemRandom.hex(8))
})
