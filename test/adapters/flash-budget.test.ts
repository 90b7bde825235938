import t from 'tap'
import { FlashBudget } from '../../src/adapters/store-sqlite/flash-budget.ts'
import { GroupCommit } from '../../src/adapters/store-sqlite/group-commit.ts'
import type { Ticket } from '../../src/ports/store.ts'
import { turnEnd } from '../contract/store-run.ts'
import { KillableClock } from '../fakes/killable-clock.ts'
import { storeOwner } from '../fakes/store-ends.ts'

const bytesPerDay = 2e9
const commitBytes = 8400

/** So many hours of a steady stream. @returns bytes written in the last one, and the wait at its end */
function run(hours: number, perSecond: number, messageBytes: number): { bytes: number; waitMs: number } {
  const budget = new FlashBudget({ bytesPerDay, waitMsMin: 5, waitMsMax: 500 })
  let written = 0
  let beforeLastHour = 0
  for (let second = 0; second < hours * 3600; second++) {
    if (second === (hours - 1) * 3600) beforeLastHour = written
    const commits = Math.min(perSecond, 1000 / budget.waitMs)
    written += commits * commitBytes + perSecond * messageBytes
    budget.observe(written, second * perSecond * messageBytes, second * 1000)
  }
  return { bytes: written - beforeLastHour, waitMs: budget.waitMs }
}

t.test('a stream that the budget bears waits no longer than it must', async (t) => {
  t.equal(run(30, 2, 150).waitMs, 5)
})

t.test('traffic for some minutes does not wait although it is more than the budget bears for long', async (t) => {
  const budget = new FlashBudget({ bytesPerDay, waitMsMin: 5, waitMsMax: 500 })
  for (let second = 0; second < 300; second++) budget.observe(second * 10 * commitBytes, second * 1500, second * 1000)
  t.equal(budget.waitMs, 5)
})

t.test('a stream that is more than the budget bears waits just as long as keeps it', async (t) => {
  const { bytes, waitMs } = run(30, 10, 150)
  t.ok(Math.abs(bytes / (bytesPerDay / 24) - 1) < 0.05, `${bytes} bytes an hour`)
  t.ok(waitMs > 300 && waitMs < 500, `${waitMs} ms`)
})

t.test('nothing waits longer than the longest wait, kept or not', async (t) => {
  t.equal(run(30, 60, 150).waitMs, 500)
})

t.test('where the messages alone are more than the budget, a wait ends where it no longer pays', async (t) => {
  t.equal(run(30, 5000, 150).waitMs, 5)
  const { bytes, waitMs } = run(30, 200, 150)
  t.ok(waitMs > 40 && waitMs < 70, `${waitMs} ms`)
  const unhurried = 3600 * 200 * (commitBytes + 150)
  t.ok(bytes < unhurried / 5, `${bytes} bytes an hour, ${unhurried} when each is written at once`)
})

t.test('publishers that wait for each acknowledgement are not held back by their own waiting', async (t) => {
  const budget = new FlashBudget({ bytesPerDay, waitMsMin: 5, waitMsMax: 200 })
  let written = 0
  let messages = 0
  for (let second = 0; second < 7200; second++) {
    const commits = 1000 / budget.waitMs
    messages += 50 * commits
    written += commits * (commitBytes + 50 * 150)
    budget.observe(written, messages * 150, second * 1000)
  }
  t.equal(budget.waitMs, 5)
})

t.test('who can wait least decides, and a command does not wait', async (t) => {
  const clock = new KillableClock()
  const durable: Ticket[] = []
  const commits = new GroupCommit({
    path: 'store',
    patienceMs: () => 200,
    clock,
    mend: async () => undefined,
    write: async () => undefined,
    makeRoom: async () => false,
  })
  commits.owner = storeOwner({ onDurable: (ticket) => durable.push(ticket), onFailure: () => t.fail('nothing fails') })
  const passMs = async (ms: number): Promise<void> => {
    clock.advanceMs(ms)
    for (let i = 0; i < 3; i++) await turnEnd()
  }
  commits.join()
  await passMs(199)
  t.strictSame(durable, [])
  await passMs(1)
  t.strictSame(durable, [1])

  commits.join()
  await passMs(50)
  commits.join(5)
  await passMs(0)
  t.strictSame(durable, [1, 2], 'it came after more than its own interval')

  commits.join(5)
  await passMs(4)
  t.strictSame(durable, [1, 2])
  await passMs(1)
  t.strictSame(durable, [1, 2, 3])

  commits.join(0)
  await passMs(0)
  t.strictSame(durable, [1, 2, 3, 4], 'a command waits for nobody')

  commits.join(5)
  await passMs(1)
  commits.join(0)
  await passMs(0)
  t.strictSame(durable, [1, 2, 3, 4, 5], 'and takes along who does')

  commits.join()
  await commits.close()
  t.strictSame(durable, [1, 2, 3, 4, 5, 6])
  t.equal(clock.timerCount, 0)
})
