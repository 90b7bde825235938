/** The parts of a simulated board, and the board on a gateway's port. */
import t from 'tap'
import { DriftingClock } from '../../firmware-sim/board/drifting-clock.ts'
import { ReceiveRing } from '../../firmware-sim/board/receive-ring.ts'
import { RandomWalk, Replay, readRecording, Sine, Step } from '../../firmware-sim/board/signal.ts'
import { decodeMessage, encodeMessage } from '../../firmware-sim/oracle/message.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'
import { Port } from '../gateway/memory-port.ts'

t.test('signals', async (t) => {
  const sine = new Sine({ mean: 20, amplitude: 5, periodMs: 1000 })
  t.strictSame(
    [0, 250, 500, 750].map((at) => Math.round(sine.valueAt(at))),
    [20, 25, 20, 15],
  )
  const step = new Step([0, 1], 100)
  t.strictSame(
    [0, 99, 100, 199, 200].map((at) => step.valueAt(at)),
    [0, 0, 1, 1, 0],
  )
  const walk = (): number[] => {
    const signal = new RandomWalk({ lowest: -1, highest: 1, stepMax: 0.5 }, new SeededRandom(4))
    return Array.from({ length: 1000 }, () => signal.valueAt())
  }
  t.strictSame(walk(), walk())
  t.ok(walk().every((value, at, all) => Math.abs(value) <= 1 && Math.abs(value - (all[at - 1] ?? value)) <= 0.5))
})

t.test('a recording is played again', async (t) => {
  const replay = new Replay(readRecording('ms,celsius\n0,20.5\n\n100,21\r\n200,19\n'))
  t.strictSame(
    [0, 99, 100, 250, 1000].map((at) => replay.valueAt(at)),
    [20.5, 20.5, 21, 19, 19],
  )
  t.throws(() => readRecording('0,1\nx,2'), { message: 'line 2: expected "ms,value"' })
  t.throws(() => readRecording('5,1\n4,2'), { message: 'line 2: goes back in time' })
  t.throws(() => readRecording('ms,value\n'), { message: 'no rows' })
})

t.test('a crystal that is off takes its timers along', async (t) => {
  const clock = new VirtualClock(500)
  const fast = new DriftingClock(clock, 10_000)
  let rangAtMs = 0
  fast.after(1010, () => {
    rangAtMs = clock.nowMs()
  })
  clock.advanceMs(10_000)
  t.equal(Math.round(fast.nowMs() - 500), 10_100)
  t.equal(fast.wallMs() - clock.wallMs(), 100)
  t.equal(Math.round(rangAtMs), 1500)
})

t.test('a receive ring keeps order and loses what finds no room', async (t) => {
  const ring = new ReceiveRing(8)
  ring.put(Buffer.from('abcde'))
  t.equal(ring.take().toString(), 'abcde')
  ring.put(Buffer.from('fghij'))
  ring.put(Buffer.from('klmno'))
  t.equal(ring.take().toString(), 'fghijklm')
  t.equal(ring.overrunByteCount, 2)
})

t.test('a message proves itself', async (t) => {
  const payload = encodeMessage({ device: 's1', n: 7, t: 1_767_225_600_000, v: -1.5 }, 80)
  t.equal(payload.length, 80)
  t.match(decodeMessage(payload), { device: 's1', n: 7, v: -1.5, isWhole: true })
  t.match(decodeMessage(payload.toString().replace('-1.5', '-1.6')), { isWhole: false })
  for (const stranger of ['', 'x', '1', 'null', '[]', '{"device":"s1"}']) t.equal(decodeMessage(stranger), undefined)
})

const smallBoard = { receiveRingBytes: 64, loopMs: 2, frameBytes: 48, ratePerSecond: 50, readingCount: 250 }

t.test('firmware that claims more memory than it has overruns, and the link makes up for it', async (t) => {
  const port = withDownlink(new Port({ ...smallBoard, claimedBytes: 512 }))
  t.ok(port.device.loop.overrunByteCount > 0, `${port.device.loop.overrunByteCount} bytes overrun`)
  t.equal(port.acceptor.distinctCount('s1'), 250)
})

// Acknowledgements are outside of the credit, so some room is left for them.
t.test('a busy loop never overruns when the gateway was told of less than there is', async (t) => {
  const port = withDownlink(new Port({ ...smallBoard, receiveRingBytes: 128, claimedBytes: 64 }))
  t.equal(port.device.loop.overrunByteCount, 0)
  t.strictSame(
    port.acceptor.readings.get('s1'),
    Array.from({ length: 250 }, (_, at) => at + 1),
  )
})

/** Messages towards a device whose loop is busy now and then, until every reading has arrived. */
function withDownlink(port: Port): Port {
  begin(port)
  port.clock.advanceUntil(() => port.device.isConnected, 3000)
  const fields = { qos: 0, dup: false, retain: false } as const
  for (let turn = 0; turn < 20; turn++) {
    for (let count = 0; count < 5; count++) {
      port.acceptor.connections.at(-1)?.send({ cmd: 'publish', topic: 'down', payload: 'x'.repeat(50), ...fields })
    }
    port.device.loop.block(80)
    port.clock.advanceMs(250)
  }
  port.clock.advanceUntil(() => port.device.isDone, 60_000)
  return port
}

t.test('a board that hangs is bitten by its watchdog', async (t) => {
  const port = new Port({ watchdogMs: 1500 })
  begin(port)
  port.clock.advanceUntil(() => port.device.isConnected, 3000)
  const { producedCount } = port.device
  port.device.loop.hang()
  port.clock.advanceMs(1400)
  t.ok(port.device.producedCount <= producedCount + 1, 'takes no readings')
  t.equal(port.device.resetCount, 0)
  port.clock.advanceMs(5000)
  t.equal(port.device.resetCount, 1)
  t.match(port.log.fieldsOf('serial link up').at(-1), { resetReason: 'watchdog' })
  t.ok(port.device.isConnected)
})

t.test('without a watchdog it hangs until the gateway gives it up', async (t) => {
  const port = new Port()
  begin(port)
  port.clock.advanceUntil(() => port.device.isConnected, 3000)
  port.device.loop.hang()
  port.clock.advanceMs(60_000)
  t.equal(port.acceptor.openCount, 0)
  port.device.reset('pin')
  t.ok(port.clock.advanceUntil(() => port.device.isConnected, 20_000))
})

t.test('a sleeper comes back, and loses nothing of what it took while awake', async (t) => {
  const port = new Port({ ratePerSecond: 20, readingCount: 100, sleep: { awakeMs: 1500, asleepMs: 8500 } })
  begin(port)
  port.clock.advanceMs(5000)
  t.equal(port.device.isOn, false)
  const asleepCount = port.device.producedCount
  port.clock.advanceMs(4000)
  t.equal(port.device.producedCount, asleepCount)
  t.ok(
    port.clock.advanceUntil(() => port.device.isDone, 120_000),
    'done',
  )
  t.equal(port.acceptor.distinctCount('s1'), 100)
  t.ok(port.device.flash.bootCount >= 3, `${port.device.flash.bootCount} boots`)
  t.equal(port.device.flash.resets.get('software'), port.device.flash.bootCount - 1)
})

t.test('a boot loader at another baud rate is noise, and the link comes up behind it', async (t) => {
  const port = new Port({ bootBaudRate: 74_880 })
  begin(port)
  t.ok(port.clock.advanceUntil(() => port.device.isConnected, 5000))
})

t.test('commands reach the firmware and are answered', async (t) => {
  const port = new Port({ takesCommands: true, firmware: 'thermo 1.0' })
  const answers: object[] = []
  port.acceptor.intercept = (packet, connection) => {
    if (packet.cmd === 'publish' && packet.topic === 'device/s1/answer')
      answers.push(JSON.parse(String(packet.payload)))
    if (packet.cmd === 'subscribe') connection.send({ cmd: 'suback', messageId: packet.messageId ?? 0, granted: [1] })
    return packet.cmd === 'subscribe' || (packet.cmd === 'publish' && packet.topic.endsWith('answer'))
  }
  begin(port)
  port.clock.advanceUntil(() => port.device.isConnected, 3000)
  const tell = (command: object): void => {
    const payload = JSON.stringify(command)
    const fields = { qos: 1, dup: false, retain: false, messageId: 9 } as const
    port.acceptor.connections.at(-1)?.send({ cmd: 'publish', topic: 'device/s1/command', payload, ...fields })
    port.clock.advanceMs(2000)
  }
  tell({ do: 'rate', value: 40 })
  t.strictSame([answers.at(-1), port.device.ratePerSecond], [{ result: 'done', rate: 40 }, 40])
  tell({ do: 'rate', value: 'fast' })
  t.match(answers.at(-1), { result: 'refused', reason: /above 0/ })
  tell({ do: 'dance' })
  t.match(answers.at(-1), { result: 'refused' })
  tell({ do: 'update', value: 'thermo 1.1' })
  t.match(answers.at(-1), { result: 'done', firmware: 'thermo 1.1' })
  port.clock.advanceMs(5000)
  t.match(port.log.fieldsOf('serial link up').at(-1), { firmware: 'thermo 1.1', resetReason: 'software' })
  tell({ do: 'status' })
  t.match(answers.at(-1), { firmware: 'thermo 1.1', bootCount: 2, resets: { software: 1 } })
})

t.test('an alias stands for the topic in MQTT 5', async (t) => {
  const port = new Port({ mqttVersion: 5, ratePerSecond: 50, readingCount: 20 })
  const topics: string[] = []
  port.acceptor.intercept = (packet, connection) => {
    if (packet.cmd === 'publish') topics.push(packet.topic)
    if (packet.cmd !== 'connect') return false
    const properties = { topicAliasMaximum: 4 }
    connection.send({ cmd: 'connack', reasonCode: 0, sessionPresent: false, properties }, 5)
    return true
  }
  begin(port)
  t.ok(port.clock.advanceUntil(() => port.device.isDone, 10_000))
  t.strictSame(topics, ['device/s1/reading', ...Array.from({ length: 19 }, () => '')])
})

function begin(port: Port): void {
  port.plug()
  port.listener.start()
}
