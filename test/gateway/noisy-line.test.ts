/** Two ends and a bad line between them, in virtual time. A seed decides everything; `SEED=7` runs only that one. */
import t from 'tap'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { Cable, type FaultRates, World } from './noisy-worlds.ts'

const badLines: Record<string, FaultRates> = {
  'bit errors, one in 10 000': { bitErrorRate: 1e-4 },
  'bit errors, one in 2 000': { bitErrorRate: 5e-4 },
  'bytes lost': { dropRate: 1e-3 },
  'bytes doubled': { duplicateRate: 1e-3 },
  'garbage between bytes': { garbageRate: 1e-3 },
  'everything at once': { bitErrorRate: 1e-4, dropRate: 3e-4, duplicateRate: 3e-4, garbageRate: 3e-4 },
  'nothing but noise': { bitErrorRate: 0.05, dropRate: 0.05, garbageRate: 0.05 },
}

const { SEED } = process.env
const seeds = SEED === undefined ? [1, 2, 3, 4, 5, 6] : [Number(SEED)]

for (const [name, rates] of Object.entries(badLines)) {
  t.test(`both streams arrive whole or the link says so: ${name}`, async (t) => {
    for (const seed of seeds) {
      const cable = new Cable(seed)
      cable.fault(rates)
      cable.run(10_000)
      const underWay = [...cable.ends].map((end) => end.receivedByteCount)
      cable.fault(undefined)
      // Whatever happened, a line that is good again works again, and finishes what was begun.
      const isSettled = cable.clock.advanceUntil(() => cable.isSettled, 60_000)
      t.ok(isSettled, `seed ${seed}: settled`)
      t.strictSame(
        cable.ends.flatMap(({ troubles }) => troubles),
        [],
        `seed ${seed}: every byte in its place`,
      )
      if (name !== 'nothing but noise') t.ok(Math.min(...underWay) > 0, `seed ${seed}: ${underWay.join(' and ')} bytes`)
      cable.close()
      t.equal(cable.clock.timerCount, 0, `seed ${seed}: no timer is left`)
    }
  })
}

t.test('a line that breaks and comes back, again and again, never stalls', async (t) => {
  for (const seed of seeds) {
    const cable = new Cable(seed)
    const random = new SeededRandom(seed)
    for (let turn = 0; turn < 6; turn++) {
      cable.run(random.below(5000))
      for (const line of cable.lines) line.isConnected = false
      cable.run(random.below(25_000))
      for (const line of cable.lines) line.isConnected = true
    }
    t.ok(
      cable.clock.advanceUntil(() => cable.isSettled, 60_000),
      `seed ${seed}: settled`,
    )
    t.strictSame(
      cable.ends.flatMap(({ troubles }) => troubles),
      [],
      `seed ${seed}`,
    )
    cable.close()
  }
})

t.test(
  'readings of the simulated device: none lost, none doubled, in order, on any line that lets some through',
  async (t) => {
    const lines = { ...badLines, 'bit errors, one in 2 000': { bitErrorRate: 2e-4 } }
    for (const [name, rates] of Object.entries(lines)) {
      const world = new World({ ratePerSecond: 50, readingCount: 1000 }, 5)
      world.fault(rates)
      world.clock.advanceMs(30_000)
      world.fault(undefined)
      t.ok(
        world.clock.advanceUntil(() => world.device.isDone, 120_000),
        `${name}: done`,
      )
      const arrived = world.acceptor.readings.get('s1') ?? []
      const firstTimes = arrived.filter((n, at) => arrived.indexOf(n) === at)
      t.strictSame(
        firstTimes,
        Array.from({ length: 1000 }, (_, at) => at + 1),
        `${name}: all, in order`,
      )
      const doubled = arrived.filter((n, at) => arrived.indexOf(n) !== at)
      t.ok(
        doubled.every((n) => world.device.resent.has(n)),
        `${name}: ${doubled.length} came twice, all of them sent twice after a reconnect`,
      )
      t.notMatch(world.acceptor.diary, /malformed/, `${name}: no damaged packet got through`)
    }
  },
)

t.test('resets of the device in the middle of everything lose nothing that is in its flash', async (t) => {
  for (const seed of seeds) {
    const world = new World({ ratePerSecond: 50, readingCount: 1500 }, seed)
    const random = new SeededRandom(seed)
    world.fault({ bitErrorRate: 5e-5 })
    for (let turn = 0; turn < 20; turn++) {
      world.clock.advanceMs(random.below(1500))
      world.device.reset()
    }
    t.ok(
      world.clock.advanceUntil(() => world.device.isDone, 120_000),
      `seed ${seed}: done`,
    )
    t.equal(world.acceptor.distinctCount('s1'), 1500)
    t.equal(world.device.acknowledged.size, 1500)
    t.ok(world.acceptor.openCount <= 1)
    const { resetCount } = world.listener.counters
    t.ok(resetCount >= 15, `seed ${seed}: ${resetCount} resets seen`)
  }
})

t.test('a reset that takes the queue with it is owned up to', async (t) => {
  const world = new World({ ratePerSecond: 100, readingCount: 500 }, 3)
  for (let turn = 0; turn < 5; turn++) {
    world.clock.advanceMs(700)
    world.device.reset('watchdog', false)
  }
  t.ok(world.clock.advanceUntil(() => world.device.isDone, 60_000))
  const { acknowledged, abandoned, producedCount } = world.device
  t.equal(producedCount, 500)
  t.equal(acknowledged.size + abandoned.size, 500)
  t.ok(abandoned.size > 0)
  t.ok([...acknowledged].every((n) => world.acceptor.readings.get('s1')?.includes(n)))
})

t.test('a clean line carries MQTT at more than 85 % of the baud rate', async (t) => {
  const world = new World({ ratePerSecond: Number.POSITIVE_INFINITY, payloadBytes: 64 }, 1)
  const clean = goodputOf(world, 30_000)
  t.comment(`64-byte payloads, clean line: ${percent(clean)} of 115200 baud as MQTT bytes`)
  t.ok(clean > 0.85, percent(clean))

  const noisy = new World({ ratePerSecond: Number.POSITIVE_INFINITY, payloadBytes: 64 }, 1)
  noisy.fault({ bitErrorRate: 1e-4 })
  const share = goodputOf(noisy, 30_000)
  t.comment(`bit error rate 1e-4: ${percent(share)}, ${percent(share / clean)} of the clean line`)
  t.ok(share > 0.6 * clean, percent(share / clean))
  t.strictSame([noisy.device.resent.size, noisy.device.link.upCount], [0, 1])
})

t.test('frames of full length carry more than 97 %, and shorter ones take over when bits are lost', async (t) => {
  const goodput = (rates: FaultRates | undefined): number => {
    const cable = new Cable(1)
    cable.talkers = [0]
    cable.fault(rates)
    cable.run(30_000)
    return (cable.ends[1]?.receivedByteCount ?? 0) / (11_520 * 30)
  }
  const clean = goodput(undefined)
  const noisy = goodput({ bitErrorRate: 1e-4 })
  t.comment(`host to device: ${percent(clean)} clean, ${percent(noisy)} at bit error rate 1e-4`)
  t.ok(clean > 0.97, percent(clean))
  t.ok(noisy > 0.6 * clean, percent(noisy / clean))
})

t.test('ten readings a second are acknowledged within 30 ms', async (t) => {
  for (const [name, rates, limitMs] of [
    ['clean line', undefined, 15],
    ['bit error rate 1e-4', { bitErrorRate: 1e-4 }, 30],
  ] as const) {
    const world = new World({ ratePerSecond: 10, payloadBytes: 64 }, 1)
    world.fault(rates)
    world.clock.advanceMs(60_000)
    const sorted = world.delaysMs.slice(5).sort((a, b) => a - b)
    const p99 = sorted[Math.floor(sorted.length * 0.99)] ?? Number.POSITIVE_INFINITY
    t.comment(
      `10 readings a second, ${name}: median ${sorted[sorted.length >> 1]?.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`,
    )
    t.ok(sorted.length > 590 && p99 <= limitMs, `${p99} ms`)
  }
})

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}

/** Bytes of acknowledged PUBLISH packets, as a share of what the line can carry. */
function goodputOf(world: World, durationMs: number): number {
  world.clock.advanceUntil(() => world.device.acknowledged.size > 0, 5000)
  const before = world.device.acknowledged.size
  world.clock.advanceMs(durationMs)
  const publishBytes = 2 + 2 + world.topic.length + 2 + 64
  return ((world.device.acknowledged.size - before) * publishBytes) / ((11_520 * durationMs) / 1000)
}
