import type { IPublishPacket, Packet } from 'mqtt-packet'
import t from 'tap'
import { PacedLine } from '../../firmware-sim/paced-line.ts'
import { SeededRandom } from '../../firmware-sim/seeded-random.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'
import { connectedPort, Port } from '../gateway/memory-port.ts'

t.test('a line hands bytes over at the baud rate', async (t) => {
  const clock = new VirtualClock()
  const arrivals: { atMs: number; byteCount: number }[] = []
  const received: Buffer[] = []
  const line = new PacedLine(9600, clock, (chunk) => {
    arrivals.push({ atMs: clock.nowMs(), byteCount: chunk.length })
    received.push(chunk)
  })
  const sent = new SeededRandom(1).bytes(960)
  line.write(sent.subarray(0, 100))
  line.write(sent.subarray(100))
  clock.advanceMs(500)
  const halfByteCount = arrivals.reduce((sum, { byteCount }) => sum + byteCount, 0)
  t.ok(Math.abs(halfByteCount - 480) <= 1, `${halfByteCount} bytes after half a second`)
  t.equal(line.bufferedByteCount, 960 - halfByteCount)
  clock.advanceMs(501)
  t.ok(Buffer.concat(received).equals(sent), 'all of them after a second, in order')
  t.equal(clock.timerCount, 0)

  received.length = 0
  line.write(Buffer.from('abcdef'))
  clock.advanceMs(3)
  line.clear()
  clock.advanceMs(100)
  t.equal(Buffer.concat(received).toString(), 'ab', 'a cut leaves what is through')
  line.isConnected = false
  line.write(Buffer.from('x'))
  t.equal(clock.timerCount, 0)
})

t.test('the same seed damages the same bytes', async (t) => {
  const run = (seed: number): string => {
    const clock = new VirtualClock()
    const received: Buffer[] = []
    const random = new SeededRandom(seed)
    const rates = { bitErrorRate: 0.01, dropRate: 0.01, duplicateRate: 0.01, garbageRate: 0.01 }
    const line = new PacedLine(115_200, clock, (chunk) => received.push(chunk), { random, ...rates })
    line.write(Buffer.alloc(2000, 0x55))
    clock.advanceMs(1000)
    return Buffer.concat(received).toString('hex')
  }
  t.equal(run(1), run(1))
  t.not(run(1), run(2))
})

t.test('a reading says whose it is, which one, and when it was taken', async (t) => {
  const port = new Port({ payloadBytes: 80, topic: 'plant/7' })
  const publishes = watchPublishes(port)
  start(port)
  port.clock.advanceMs(1000)
  const [first] = publishes
  t.equal(first?.topic, 'plant/7')
  t.equal(first?.qos, 1)
  t.equal(first?.payload.length, 80)
  t.match(JSON.parse(String(first?.payload)), { device: 's1', n: 1, t: port.clock.wallOffsetMs })
})

t.test('what was not acknowledged is sent again first, as a duplicate with its identifier', async (t) => {
  const port = new Port({ ratePerSecond: 100 })
  const publishes = watchPublishes(port)
  let isDeaf = false
  port.acceptor.intercept = (packet) => note(publishes, packet) && isDeaf
  start(port)
  port.clock.advanceMs(500)
  isDeaf = true
  port.clock.advanceMs(500)
  const before = publishes.slice(-8)
  port.unplug()
  port.clock.advanceMs(100)
  publishes.length = 0
  isDeaf = false
  port.plug()
  port.clock.advanceMs(12_000)
  t.strictSame(
    publishes.slice(0, 8).map(({ dup, messageId, payload }) => [dup, messageId, String(payload)]),
    before.map(({ messageId, payload }) => [true, messageId, String(payload)]),
  )
  t.ok(publishes.slice(8).every(({ dup }) => !dup))
  t.equal(port.device.resent.size, 8)
  const { acknowledged, producedCount, waitingCount } = port.device
  t.strictSame([acknowledged.size + waitingCount, waitingCount <= 1], [producedCount, true])
})

t.test('a refused device tries again, once a second', async (t) => {
  const port = new Port({})
  port.acceptor.returnCode = 5
  port.acceptor.intercept = (packet, connection) => {
    if (packet.cmd === 'connect') port.clock.afterTurn(() => connection.link.end())
    return false
  }
  start(port)
  port.clock.advanceMs(10_000)
  t.ok(port.device.refuseCount >= 8 && port.device.refuseCount <= 11, `${port.device.refuseCount} times in ten seconds`)
  t.equal(port.device.isConnected, false)
  port.acceptor.returnCode = 0
  port.acceptor.intercept = () => false
  port.clock.advanceMs(3000)
  t.equal(port.device.isConnected, true)
})

t.test('a broker that answers nothing is asked again', async (t) => {
  const port = new Port({})
  port.acceptor.intercept = () => true
  start(port)
  port.clock.advanceMs(30_000)
  t.ok(port.acceptor.connections.length >= 4)
  port.acceptor.intercept = (packet) => packet.cmd === 'pingreq'
  port.clock.advanceUntil(() => port.device.isConnected, 10_000)
  const { length } = port.acceptor.connections
  port.clock.advanceMs(15_000)
  t.ok(port.acceptor.connections.length > length, 'a PINGREQ without an answer ends the connection')
})

t.test('a reset forgets the link and keeps the account', async (t) => {
  const port = connectedPort()
  port.clock.advanceMs(3000)
  const acknowledgedCount = port.device.acknowledged.size
  port.device.reset('watchdog')
  t.equal(port.device.isConnected, false)
  t.equal(port.device.acknowledged.size, acknowledgedCount)
  port.clock.advanceMs(3000)
  t.equal(port.device.resetCount, 1)
  t.equal(port.device.acknowledged.size + port.device.waitingCount, port.device.producedCount)
  t.match(port.log.fieldsOf('serial link up').at(-1), { resetReason: 'watchdog' })
})

function start(port: Port): void {
  port.plug()
  port.listener.start()
}

function watchPublishes(port: Port): IPublishPacket[] {
  const publishes: IPublishPacket[] = []
  port.acceptor.intercept = (packet) => {
    note(publishes, packet)
    return false
  }
  return publishes
}

function note(publishes: IPublishPacket[], packet: Packet): boolean {
  if (packet.cmd !== 'publish') return false
  publishes.push(packet)
  return true
}
