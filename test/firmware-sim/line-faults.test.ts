/** What a bad line does to bytes, each fault by itself. */
import t from 'tap'
import { LineDamage, type LineFaults } from '../../firmware-sim/line/faults.ts'
import { resampled } from '../../firmware-sim/line/uart-sampler.ts'
import { PacedLine } from '../../firmware-sim/paced-line.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const sent = new SeededRandom(1).bytes(20_000)

t.test('the same seed damages the same bytes, whatever the fault', async (t) => {
  const faults: Record<string, Omit<LineFaults, 'random'>> = {
    'bit errors': { bitErrorRate: 1e-3 },
    'bytes lost': { dropRate: 1e-3 },
    'bytes doubled': { duplicateRate: 1e-3 },
    garbage: { garbageRate: 1e-3 },
    bursts: { burstRate: 1e-3 },
    'wrong baud rate': { baudRatio: 1.08 },
    'stuck low': { stuck: 'low' },
  }
  for (const [name, rates] of Object.entries(faults)) {
    const run = (seed: number) => {
      const damage = new LineDamage({ ...rates, random: new SeededRandom(seed) })
      return { received: damage.apply(sent).toString('hex'), damagedByteCount: damage.damagedByteCount }
    }
    t.strictSame(run(1), run(1), name)
    t.ok(run(1).received !== sent.toString('hex') && run(1).damagedByteCount > 0, `${name} does damage`)
  }
})

t.test('bit errors come at their rate', async (t) => {
  const received = damaged({ bitErrorRate: 1e-3 })
  const flipped = sent.reduce((sum, byte, at) => sum + Number(byte !== received[at]), 0)
  t.ok(Math.abs(flipped / sent.length - 8e-3) < 2e-3, `${flipped} of ${sent.length} bytes`)
})

t.test('interference spoils so many bytes in a row', async (t) => {
  const received = damaged({ burstRate: 2e-4, burstBytes: 50 })
  const spoiled = [...sent].map((byte, at) => byte !== received[at])
  const first = spoiled.indexOf(true)
  const inFirst = spoiled.slice(first, first + 50).filter(Boolean).length
  t.ok(inFirst >= 45, `${inFirst} of 50 bytes`)
  t.equal(spoiled.slice(first + 50, first + 60).includes(true), false)
})

t.test('a break is one zero, and then nothing; a wire at rest is nothing at all', async (t) => {
  t.strictSame(damaged({ stuck: 'low' }), Buffer.alloc(1))
  t.strictSame(damaged({ stuck: 'high' }), Buffer.alloc(0))
})

t.test('a UART bears a baud rate that is three percent off, and no more than five', async (t) => {
  for (const ratio of [0.97, 1, 1.03]) t.ok(resampled(sent, ratio).equals(sent), String(ratio))
  for (const ratio of [0.93, 1.07]) t.notOk(resampled(sent, ratio).equals(sent), String(ratio))
})

t.test('a U at the wrong rate', async (t) => {
  // 0x55 is a square wave on the line, one bit low, one bit high, from the start bit to the stop bit. At double rate
  // each bit is seen twice: 0 0 1 1 0 0 1 1 0, and then no stop bit; from the next edge on 0 0 1 1 0 0 1 1, and rest.
  t.equal(resampled(Buffer.from('U'), 2).toString('hex'), '00e6')
  // At half the rate no low lasts until the middle of a start bit.
  t.equal(resampled(Buffer.from('U'), 0.5).length, 0)
})

t.test('damage that is over stays counted', async (t) => {
  const clock = new VirtualClock()
  const received: Buffer[] = []
  const line = new PacedLine(115_200, clock, (chunk) => received.push(chunk))
  line.faults = { random: new SeededRandom(1), stuck: 'high' }
  line.write(Buffer.alloc(100))
  clock.advanceMs(100)
  line.faults = undefined
  line.write(Buffer.from('again'))
  clock.advanceMs(100)
  t.equal(Buffer.concat(received).toString(), 'again')
  t.equal(line.damagedByteCount, 100)
})

function damaged(rates: Omit<LineFaults, 'random'>): Buffer {
  return new LineDamage({ ...rates, random: new SeededRandom(3) }).apply(sent)
}
