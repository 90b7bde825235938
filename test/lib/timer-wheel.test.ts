import fc from 'fast-check'
import t from 'tap'
import { TimerWheel, WheelTimer } from '../../src/lib/timer-wheel.ts'

const tickMs = 10
const timerCount = 12
const yearMs = 365 * 24 * 3_600_000

type Action = { kind: 'schedule'; timer: number; inMs: number } | { kind: 'cancel'; timer: number }

/** Spans that touch every level of the wheel and the edges between them. */
const spanMs = fc.oneof(
  fc.integer({ min: -50, max: 300 }),
  fc.integer({ min: 2500, max: 2620 }),
  fc.integer({ min: 655_000, max: 656_000 }),
  fc.integer({ min: 0, max: 200_000_000 }),
  fc.integer({ min: 0, max: 60 * yearMs }),
)

const timerIndex = fc.nat(timerCount - 1)
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('schedule' as const), timer: timerIndex, inMs: spanMs }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancel' as const), timer: timerIndex }) },
)
const step = fc.oneof(action, fc.record({ kind: fc.constant('advance' as const), byMs: spanMs }))

t.test('a wheel runs exactly what a list of deadlines says, whatever its tasks schedule or cancel', async (t) => {
  fc.assert(
    fc.property(
      fc.nat(2 * yearMs),
      fc.array(step, { maxLength: 60 }),
      fc.array(fc.array(action, { maxLength: 3 }), { minLength: timerCount, maxLength: timerCount }),
      (startMs, steps, reactions) => {
        let nowMs = startMs
        const wheel = new TimerWheel(tickMs, nowMs)
        const dueTicks = new Map<number, number>()
        const ranTicks: number[] = []
        const timers = reactions.map((reaction, index) => new WheelTimer(() => run(index, reaction)))

        for (const next of steps) {
          if (next.kind !== 'advance') {
            act(next)
            continue
          }
          nowMs = Math.max(nowMs, nowMs + next.byMs)
          ranTicks.length = 0
          wheel.advance(nowMs)
          if (!ranTicks.every((tick, i) => i === 0 || tick >= (ranTicks[i - 1] as number))) throw new Error('order')
          for (const [index, tick] of dueTicks) {
            if (tick <= Math.floor(nowMs / tickMs)) throw new Error(`timer ${index} is overdue`)
          }
          timers.forEach((timer, index) => {
            if (timer.isScheduled !== dueTicks.has(index)) throw new Error(`timer ${index} is wrongly scheduled`)
          })
        }

        function act(next: Action): void {
          const timer = timers[next.timer] as WheelTimer
          if (next.kind === 'cancel') {
            wheel.cancel(timer)
            dueTicks.delete(next.timer)
            return
          }
          wheel.schedule(timer, nowMs + next.inMs)
          const dueTick = Math.ceil((nowMs + next.inMs) / tickMs)
          dueTicks.set(next.timer, Math.max(dueTick, Math.floor(nowMs / tickMs) + 1))
        }

        function run(index: number, reaction: readonly Action[]): void {
          const dueTick = dueTicks.get(index)
          if (dueTick === undefined) throw new Error(`timer ${index} ran although it was not scheduled`)
          if (dueTick > Math.floor(nowMs / tickMs)) throw new Error(`timer ${index} ran early`)
          ranTicks.push(dueTick)
          dueTicks.delete(index)
          for (const next of reaction) act(next)
        }
      },
    ),
    { numRuns: 1000 },
  )
  t.pass()
})

t.test('a task never runs early or more than one tick late', async (t) => {
  const wheel = new TimerWheel(100, 0)
  let runCount = 0
  const timer = new WheelTimer(() => runCount++)
  wheel.schedule(timer, 250)
  wheel.advance(299)
  t.equal(runCount, 0)
  t.ok(timer.isScheduled)
  wheel.advance(300)
  t.equal(runCount, 1)
  t.notOk(timer.isScheduled)
  wheel.advance(10_000)
  t.equal(runCount, 1)
})

t.test('a timer that is scheduled again moves', async (t) => {
  const wheel = new TimerWheel(100, 0)
  const ranAtMs: number[] = []
  let nowMs = 0
  const timer = new WheelTimer(() => ranAtMs.push(nowMs))
  wheel.schedule(timer, 500)
  wheel.schedule(timer, 300_000)
  for (; nowMs <= 400_000; nowMs += 100) wheel.advance(nowMs)
  t.strictSame(ranAtMs, [300_000])
})

t.test('a task that wants to run at once, for ever, runs once per advance', async (t) => {
  const wheel = new TimerWheel(100, 0)
  let runCount = 0
  const timer: WheelTimer = new WheelTimer(() => {
    runCount++
    wheel.schedule(timer, 0)
  })
  wheel.schedule(timer, 0)
  wheel.advance(50 * yearMs)
  t.equal(runCount, 1)
  wheel.advance(50 * yearMs + 100)
  t.equal(runCount, 2)
})

t.test('a deadline of Infinity never comes', async (t) => {
  const wheel = new TimerWheel(100, 0)
  const timer = new WheelTimer(() => t.fail('it came'))
  wheel.schedule(timer, Infinity)
  wheel.advance(500 * yearMs)
  t.ok(timer.isScheduled)
})

t.test('a hundred thousand keep-alives run in the order of their ticks', async (t) => {
  const wheel = new TimerWheel(100, 0)
  let runCount = 0
  let lastTick = 0
  let isOrdered = true
  for (let i = 0; i < 100_000; i++) {
    const atMs = 60_000 + ((i * 7919) % 1_800_000)
    const timer = new WheelTimer(() => {
      runCount++
      const tick = Math.ceil(atMs / 100)
      isOrdered &&= tick >= lastTick
      lastTick = tick
    })
    wheel.schedule(timer, atMs)
  }
  for (let nowMs = 0; nowMs <= 1_900_000; nowMs += 100) wheel.advance(nowMs)
  t.equal(runCount, 100_000)
  t.ok(isOrdered)
})
