import t from 'tap'
import { SeededRandom } from './seeded-random.ts'
import { VirtualClock } from './virtual-clock.ts'

t.test('timers run at their due time, equal ones in order of registration', async (t) => {
  const clock = new VirtualClock(1000)
  const seen: string[] = []
  clock.after(20, () => seen.push(`c${clock.nowMs()}`))
  clock.after(10, () => seen.push(`a${clock.nowMs()}`))
  clock.after(10, () => seen.push(`b${clock.nowMs()}`))
  clock.after(21, () => seen.push('late'))
  clock.advanceMs(20)
  t.strictSame(seen, ['a1010', 'b1010', 'c1020'])
  t.equal(clock.nowMs(), 1020)
  t.equal(clock.timerCount, 1)
})

t.test('a task never runs inside the call that registered it', async (t) => {
  const clock = new VirtualClock()
  const seen: string[] = []
  clock.after(0, () => seen.push('timer'))
  clock.afterTurn(() => seen.push('turn'))
  t.strictSame(seen, [])
  clock.advanceMs(0)
  t.strictSame(seen, ['turn', 'timer'])
})

t.test('each timer is a turn with its own end-of-turn tasks', async (t) => {
  const clock = new VirtualClock()
  const seen: string[] = []
  for (const name of ['a', 'b']) {
    clock.after(5, () => {
      seen.push(name)
      clock.afterTurn(() => {
        seen.push(`${name}-end`)
        clock.afterTurn(() => seen.push(`${name}-again`))
      })
    })
  }
  clock.advanceMs(5)
  t.strictSame(seen, ['a', 'a-end', 'a-again', 'b', 'b-end', 'b-again'])
})

t.test('a timer made by a task runs in the same advance when it is due', async (t) => {
  const clock = new VirtualClock()
  const seen: number[] = []
  const repeat = (): void => {
    seen.push(clock.nowMs())
    clock.after(10, repeat)
  }
  clock.after(10, repeat)
  clock.advanceMs(35)
  t.strictSame(seen, [10, 20, 30])
  t.equal(clock.nowMs(), 35)
})

t.test('a cancelled timer never fires, also when its neighbour cancels it', async (t) => {
  const clock = new VirtualClock()
  const seen: string[] = []
  clock.after(5, () => second.cancel())
  const second = clock.after(5, () => seen.push('second'))
  clock.advanceMs(10)
  second.cancel()
  t.strictSame(seen, [])
})

t.test('advanceUntil stops at the step that makes the condition true', async (t) => {
  const clock = new VirtualClock()
  let count = 0
  for (const delayMs of [10, 20, 30]) clock.after(delayMs, () => count++)
  t.equal(
    clock.advanceUntil(() => count === 2, 1000),
    true,
  )
  t.equal(clock.nowMs(), 20)
  t.equal(
    clock.advanceUntil(() => count === 9, 1000),
    false,
  )
  t.equal(clock.nowMs(), 1020)
})

t.test('the wall clock jumps without moving the timeline', async (t) => {
  const clock = new VirtualClock(5)
  clock.wallOffsetMs = 0
  t.equal(clock.wallMs(), 5)
  t.equal(clock.nowMs(), 5)
})

t.test('one seed gives one sequence, spread evenly', async (t) => {
  const first = new SeededRandom(7)
  const second = new SeededRandom(7)
  t.equal(first.hex(16), second.hex(16))
  t.not(new SeededRandom(8).hex(16), new SeededRandom(7).hex(16))
  const counts = new Array<number>(10).fill(0)
  for (let draw = 0; draw < 10_000; draw++) {
    const bucket = first.below(10)
    counts[bucket] = (counts[bucket] as number) + 1
  }
  t.ok(
    counts.every((count) => count > 850 && count < 1150),
    `ten buckets of about 1000: ${counts.join(' ')}`,
  )
  t.match(first.hex(4), /^[0-9a-f]{8}$/)
})
