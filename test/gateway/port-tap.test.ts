/** Watching a port that the gateway has: bounded, and over when nobody asks. */
import t from 'tap'
import { LineLoad } from '../../src/gateway/line-load.ts'
import { encodeFrame, FrameType } from '../../src/gateway/link-frame.ts'
import { PortTap } from '../../src/gateway/port-tap.ts'
import { RoundTrips } from '../../src/gateway/round-trips.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

const ping = (seq: number) =>
  encodeFrame({ type: FrameType.ping, flags: 0, seq: seq & 0xff, ack: 0, payload: Buffer.alloc(0) })

t.test('what passes before anybody asks is not kept', async (t) => {
  const tap = new PortTap('link', new VirtualClock(1000))
  tap.fromDevice(ping(1))
  t.strictSame(tap.read(0), { lines: [], next: 0, missedCount: 0 })
  t.strictSame(tap.read(0).lines, [])
})

t.test('each answer has what passed since the one before, in order and with its direction', async (t) => {
  const clock = new VirtualClock(1000)
  const tap = new PortTap('link', clock)
  tap.read(0)
  tap.fromDevice(ping(1).subarray(0, 4))
  tap.fromGateway(ping(2))
  tap.fromDevice(ping(1).subarray(4))
  const { lines, next } = tap.read(0)
  t.strictSame(
    lines.map(({ from, text }) => [from, text]),
    [
      ['gateway', 'PING     seq 2 ack 0'],
      ['device', 'PING     seq 1 ack 0'],
    ],
  )
  tap.fromDevice(ping(3))
  t.match(tap.read(next), { lines: [{ text: 'PING     seq 3 ack 0' }], next: 3, missedCount: 0 })
  t.strictSame(tap.read(next).lines.length, 1, 'a repeated question has the same answer')
  t.strictSame(tap.read(1000).lines, [], 'nothing comes before it passed')
})

t.test('a flood keeps the latest lines and says how many it did not keep', async (t) => {
  const tap = new PortTap('link', new VirtualClock(1000))
  tap.read(0)
  for (let n = 0; n < 10_000; n++) tap.fromDevice(ping(n))
  const { lines, next, missedCount } = tap.read(0)
  t.equal(next, 10_000)
  t.ok(lines.length <= 2000 && lines.length >= 1000, `${lines.length} lines`)
  t.equal(missedCount + lines.length, 10_000)
  t.equal(lines.at(-1)?.text, `PING     seq ${9999 & 0xff} ack 0`)
})

t.test('a watch that nobody asks about is over after five seconds', async (t) => {
  const clock = new VirtualClock(1000)
  const tap = new PortTap('link', clock)
  tap.read(0)
  tap.fromDevice(ping(1))
  clock.advanceMs(4999)
  t.equal(tap.read(0).lines.length, 1)
  clock.advanceMs(5000)
  tap.fromDevice(ping(2))
  t.strictSame(tap.read(1), { lines: [], next: 0, missedCount: 0 }, 'begins anew')
})

t.test('the load of a line is the share of its busier direction over ten seconds', async (t) => {
  const clock = new VirtualClock(1000)
  const load = new LineLoad(9600, clock)
  for (let second = 0; second < 10; second++) {
    load.onReceived(480)
    load.onWritten(96)
    clock.advanceMs(1000)
  }
  t.equal(load.percent, 50)
  t.strictSame([load.receivedByteCount, load.writtenByteCount], [4800, 960])
  load.changeRate(96_000)
  load.onWritten(9600)
  clock.advanceMs(10_000)
  t.equal(load.percent, 10)
  clock.advanceMs(60_000)
  t.equal(load.percent, 0)
})

t.test('round trips have percentiles of the last 256', async (t) => {
  const trips = new RoundTrips()
  t.equal(trips.percentileMs(0.5), 0)
  for (let n = 0; n < 1000; n++) trips.add(5000)
  for (let n = 1; n <= 256; n++) trips.add(n)
  t.strictSame([trips.percentileMs(0.5), trips.percentileMs(0.99), trips.percentileMs(1)], [128, 254, 256])
})
