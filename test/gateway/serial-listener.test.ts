import t from 'tap'
import { littleEndian, Type, toFields, toWire } from '../../firmware-sim/link-codec.ts'
import type { MqttConnection } from '../fakes/mqtt-acceptor.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { connectedPort, Port } from './memory-port.ts'
import { serialTraits } from './noisy-worlds.ts'

t.test('an absent port is tried at growing intervals and logged once', async (t) => {
  const port = new Port()
  port.listener.start()
  port.clock.advanceMs(25_000)
  t.strictSame(port.driver.triesAtMs, [0, 200, 600, 1400, 3000, 6200, 11_200, 16_200, 21_200])
  t.strictSame(port.lines(), ['warn serial device absent'])
  t.match(port.log.lines[0]?.fields, { path: '/dev/ttyTest', reason: /No such file.*plug it in/ })
  t.equal(port.listener.status, 'absent')

  port.plug()
  port.clock.advanceMs(5000)
  t.strictSame(port.lines(), ['warn serial device absent', 'info serial device present', 'info serial link up'])
  t.equal(port.listener.status, 'up')
})

t.test('another reason for the absence is news', async (t) => {
  const port = new Port()
  port.listener.start()
  port.clock.advanceMs(1000)
  port.driver.deny('Permission denied')
  port.clock.advanceMs(20_000)
  t.strictSame(port.lines(), ['warn serial device absent', 'warn serial device absent'])
  t.match(port.log.lines[1]?.fields, { reason: /Permission denied/ })
})

t.test('a device that answers is presented to the broker as a link', async (t) => {
  const port = connectedPort()
  const [connection] = port.acceptor.connections
  t.strictSame(port.acceptor.diary, ['accept 1', 'connect 1 s1'])
  t.equal(connection?.link.remote, '/dev/ttyTest')
  t.equal(connection?.link.identity, undefined)
  t.equal(connection?.traits, serialTraits)
  t.match(port.log.fieldsOf('serial link up')[0], { deviceId: 's1', firmware: 'firmware-sim', resetReason: 'power-on' })
  port.clock.advanceMs(2000)
  t.ok(port.device.acknowledged.size >= 19)
})

t.test('what the device logs is logged', async (t) => {
  const port = connectedPort()
  t.strictSame(port.log.fieldsOf('serial device says'), [{ path: '/dev/ttyTest', text: 'sensor s1 started: power-on' }])
})

t.test('an unplugged device closes the connection, and is taken up again when it is back', async (t) => {
  const port = connectedPort()
  port.unplug()
  t.equal(port.acceptor.diary.at(-1), 'closed 1: a serial device went away: port')
  t.equal(port.listener.status, 'absent')
  port.clock.advanceMs(10_000)
  port.plug()
  port.clock.advanceMs(6000)
  t.strictSame(port.acceptor.diary.slice(3), ['accept 2', 'connect 2 s1'])
  t.strictSame(port.lines(), [
    'info serial device present',
    'info serial link up',
    'warn serial device absent',
    'info serial device present',
    'info serial link up',
  ])
  port.clock.advanceMs(10_000)
  t.equal(port.device.waitingCount <= 1, true, 'everything taken meanwhile has arrived')
})

t.test('a device that restarts closes the old connection before the new one is presented', async (t) => {
  const port = connectedPort()
  port.device.reset()
  port.clock.advanceMs(1000)
  t.strictSame(port.acceptor.diary.slice(2), [
    'closed 1: the network connection ended: /dev/ttyTest: peer restarted',
    'accept 2',
    'connect 2 s1',
  ])
  t.match(port.log.fieldsOf('serial link up')[1], { resetReason: 'brown-out' })
})

t.test('a device that falls silent closes the connection', async (t) => {
  const port = connectedPort()
  port.device.stop()
  port.clock.advanceMs(20_000)
  t.match(port.acceptor.diary.at(-1), /^closed 1: .*(silence|no acknowledgement)$/)
  t.equal(port.listener.status, 'silent')
})

for (const way of ['end', 'destroy'] as const) {
  t.test(`the broker's ${way} ends the conversation, and the device notices`, async (t) => {
    const port = connectedPort()
    const [connection] = port.acceptor.connections as [MqttConnection]
    connection.call((link) => link[way]())
    connection.call((link) => link.end())
    connection.call((link) => link.destroy())
    connection.call((link) => link.send([Buffer.from('too late')]))
    port.clock.advanceMs(0)
    t.equal(port.acceptor.diary.at(-1), 'closed 1: as asked')
    t.equal(port.acceptor.openCount, 0)
    port.clock.advanceMs(500)
    t.strictSame(port.acceptor.diary.slice(3), ['accept 2', 'connect 2 s1'])
    t.equal(port.device.link.upCount, 2)
  })
}

t.test('end lets everything leave that was sent, destroy does not', async (t) => {
  for (const way of ['end', 'destroy'] as const) {
    const port = connectedPort()
    const [connection] = port.acceptor.connections as [MqttConnection]
    let receivedByteCount = 0
    const receive = port.device.receive.bind(port.device)
    port.toDevice = (chunk) => {
      receivedByteCount += chunk.length
      receive(chunk)
    }
    connection.call((link) => link.send([pingresps(1500), pingresps(1500)]))
    connection.call((link) => link[way]())
    port.clock.advanceUntil(() => connection.isClosed, 5000)
    t.equal(receivedByteCount > 6000, way === 'end', `${way}: ${receivedByteCount} of 6000 bytes`)
    t.equal(port.acceptor.diary.filter((entry) => entry.startsWith('closed 1')).length, 1)
  }
})

t.test('a link that is told to end while the device is away is closed when the line gives up', async (t) => {
  const port = connectedPort()
  const [connection] = port.acceptor.connections as [MqttConnection]
  port.device.stop()
  connection.call((link) => link.send([Buffer.from('nobody hears this')]))
  connection.call((link) => link.end())
  t.ok(port.clock.advanceUntil(() => connection.isClosed, 20_000))
  t.equal(port.acceptor.diary.at(-1), 'closed 1: as asked')
})

t.test('a broker that refuses the link inside accept is told that it closed', async (t) => {
  const port = new Port()
  const accept = port.acceptor.accept.bind(port.acceptor)
  port.acceptor.accept = (link, traits) => {
    if (port.acceptor.connections.length === 0) link.destroy()
    return accept(link, traits)
  }
  port.listener.start()
  port.plug()
  port.clock.advanceMs(3000)
  t.strictSame(port.acceptor.diary, ['accept 1', 'closed 1: as asked', 'accept 2', 'connect 2 s1'])
})

t.test('a link that is destroyed in the chunk that brings the next conversation is closed first', async (t) => {
  const port = new Port()
  port.device.stop()
  port.clear()
  port.plug()
  port.listener.start()
  port.clock.advanceMs(10)
  const reset = (conversation: number) =>
    toWire({ type: Type.rst, flags: 0, seq: 0, ack: 0, payload: deviceHello(conversation) })
  port.driver.deliver(reset(1))
  port.acceptor.intercept = (_packet, connection) => {
    connection.call((link) => link.destroy())
    return true
  }
  const pingreq = toWire({ type: Type.data, flags: 0, seq: 0, ack: 0, payload: Buffer.from([0xc0, 0]) })
  port.driver.deliver(Buffer.concat([pingreq, reset(2)]))
  t.strictSame(port.acceptor.diary, ['accept 1', 'closed 1: as asked', 'accept 2'])
})

t.test('calls on a link that is over reach neither the device nor the next connection', async (t) => {
  const port = connectedPort()
  const [old] = port.acceptor.connections as [MqttConnection]
  port.device.reset()
  port.clock.advanceMs(500)
  const upCount = port.device.link.upCount
  const acknowledgedCount = port.device.acknowledged.size
  for (const act of ['end', 'destroy', 'resume', 'pause'] as const) old.call((link) => link[act]())
  old.call((link) => link.send([Buffer.from('nothing')]))
  t.equal(old.link.bufferedByteCount, 0)
  port.clock.advanceMs(2000)
  t.equal(port.device.link.upCount, upCount)
  t.equal(port.acceptor.openCount, 1)
  t.ok(port.device.acknowledged.size > acknowledgedCount + 15)
})

t.test('backpressure goes both ways', async (t) => {
  const port = connectedPort()
  const [connection] = port.acceptor.connections as [MqttConnection]
  connection.call((link) => link.pause())
  port.clock.advanceMs(2000)
  const before = port.device.acknowledged.size
  port.clock.advanceMs(2000)
  t.equal(port.device.acknowledged.size, before, 'nothing arrives while the broker has paused')
  t.equal(connection.isClosed, false)
  connection.call((link) => link.resume())
  port.clock.advanceMs(1000)
  t.ok(port.device.acknowledged.size > before + 40)
  t.ok(port.device.waitingCount <= 1)

  const { drainCount, link } = connection
  const { bufferedByteCount } = link
  connection.call(() => link.send([pingresps(1)]))
  t.equal(link.bufferedByteCount, bufferedByteCount + 2)
  t.ok(port.clock.advanceUntil(() => link.bufferedByteCount === 0, 100))
  t.equal(connection.drainCount, drainCount + 1)
})

t.test('a line that takes no bytes loses frames instead of memory', async (t) => {
  const port = connectedPort()
  port.driver.isStuck = true
  port.clock.advanceMs(600_000)
  t.ok(port.listener.counters.overrunCount > 0)
  port.driver.isStuck = false
})

t.test('garbage for an hour costs no memory and one log line a minute, and the next good frame counts', async (t) => {
  const port = connectedPort()
  port.device.stop()
  // What it sent before is out of the minute that is judged.
  port.clock.advanceMs(80_000)
  const lineCount = port.log.lines.length
  const random = new SeededRandom(1)
  const before = process.memoryUsage().arrayBuffers
  for (let second = 0; second < 3600; second++) {
    port.driver.deliver(random.bytes(500))
    port.clock.advanceMs(1000)
  }
  const lines = port.log.lines.slice(lineCount)
  t.equal(lines.length, 60)
  t.ok(lines.every(({ level, message }) => level === 'warn' && message.startsWith('serial line brings only garbage')))
  t.ok(process.memoryUsage().arrayBuffers - before < 5_000_000)
  const { crcErrorCount, cobsErrorCount, oversizeCount } = port.listener.counters
  t.ok(crcErrorCount + cobsErrorCount + oversizeCount > 1000)
  port.device.start()
  port.clock.advanceMs(1000)
  t.equal(port.listener.status, 'up')
})

t.test('a port that flaps a thousand times leaves nothing behind', async (t) => {
  const port = connectedPort()
  for (let turn = 0; turn < 1000; turn++) {
    port.unplug()
    port.plug()
    port.clock.advanceMs(turn % 300)
  }
  port.clock.advanceMs(10_000)
  t.equal(port.listener.status, 'up')
  t.equal(port.driver.openLineCount, 1)
  t.ok(port.clock.timerCount < 10, `${port.clock.timerCount} timers`)
  t.equal(port.acceptor.openCount, 1)
})

t.test('stop closes connection and port, whatever the state', async (t) => {
  const ways: Record<string, (port: Port) => void> = {
    'before start': () => {},
    absent: (port) => port.listener.start(),
    opening: (port) => {
      port.plug()
      port.listener.start()
    },
    up: (port) => {
      port.plug()
      port.listener.start()
      port.clock.advanceMs(2000)
    },
    ending: (port) => {
      port.plug()
      port.listener.start()
      port.clock.advanceMs(2000)
      port.acceptor.connections[0]?.call((link) => {
        link.send([Buffer.alloc(5000)])
        link.end()
      })
    },
  }
  for (const [name, prepare] of Object.entries(ways)) {
    const port = new Port()
    prepare(port)
    if (name === 'absent') port.clock.advanceMs(1)
    let isStopped = false
    const stopped = port.listener.stop().then(() => {
      isStopped = true
    })
    t.equal(port.listener.stop(), port.listener.stop(), `${name}: once`)
    port.clock.advanceMs(1)
    await stopped
    t.ok(isStopped, name)
    t.equal(port.acceptor.openCount, 0, `${name}: connection closed`)
    t.equal(port.driver.openLineCount, 0, `${name}: port closed`)
    const { length } = port.driver.triesAtMs
    port.device.stop()
    port.clear()
    t.equal(port.clock.timerCount, 0, `${name}: no timer is left`)
    port.clock.advanceMs(60_000)
    t.equal(port.driver.triesAtMs.length, length, `${name}: not opened again`)
  }
})

t.test('a device learns of a stop at once', async (t) => {
  const port = connectedPort()
  void port.listener.stop()
  port.clock.advanceMs(10)
  t.equal(port.device.link.isUp, false)
})

t.test('frames of a device that was there before the gateway do not confuse it', async (t) => {
  const port = new Port()
  port.plug()
  port.listener.start()
  port.device.stop()
  port.clear()
  for (const type of [Type.data, Type.ack, Type.nak, Type.rstAck, Type.err]) {
    port.driver.deliver(toWire({ type, flags: 0, seq: 9, ack: 9, payload: Buffer.from('old') }))
  }
  port.clock.advanceMs(100)
  t.equal(port.listener.status, 'silent')
  t.strictSame(port.acceptor.diary, [])
})

function pingresps(count: number): Buffer {
  return Buffer.alloc(2 * count, Buffer.from([0xd0, 0]))
}

function deviceHello(conversation: number): Buffer {
  return toFields([
    [2, littleEndian(0, 1)],
    [3, littleEndian(7, 4)],
    [4, littleEndian(conversation, 4)],
  ])
}
