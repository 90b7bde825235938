/** A client that is faster than its listener allows is read more slowly, and loses nothing. */
import t from 'tap'
import { PacketType } from '../../src/protocol/packet.ts'
import { TestBroker } from '../fakes/test-broker.ts'

t.test('messages over the rate make the client wait, and none is dropped', async (t) => {
  const broker = await TestBroker.start()
  const subscriber = broker.connect({ clientId: 's' })
  subscriber.subscribe('a')
  const rates = { messagesPerSecondMax: 10, bytesPerSecondMax: undefined }
  const publisher = broker.connect({ clientId: 'p' }, { rates })
  for (let i = 0; i < 10; i++) publisher.publish('a', `${i}`)
  t.notOk(publisher.link.isPaused, 'those of a second come at once')
  for (let i = 10; i < 60; i++) publisher.publish('a', `${i}`)
  t.ok(publisher.link.isPaused)
  const received = subscriber.takePayloads()
  for (let second = 1; second <= 4; second++) {
    broker.passMs(1000)
    received.push(...subscriber.takePayloads())
    t.ok(Math.abs(received.length - 10 - 10 * second) <= 2, `${received.length} after ${second} s`)
  }
  broker.passMs(3000)
  received.push(...subscriber.takePayloads())
  t.strictSame(
    received,
    Array.from({ length: 60 }, (_, i) => `${i}`),
  )
  t.notOk(publisher.link.isPaused)
})

t.test('bytes over the rate make the client wait as long as they would have taken', async (t) => {
  const broker = await TestBroker.start()
  const rates = { messagesPerSecondMax: undefined, bytesPerSecondMax: 1000 }
  const publisher = broker.connect({ clientId: 'p' }, { rates })
  publisher.publish('a', 'x'.repeat(3000))
  t.ok(publisher.link.isPaused)
  broker.passMs(1900)
  t.ok(publisher.link.isPaused)
  broker.passMs(300)
  t.notOk(publisher.link.isPaused)
})

t.test('a client that is held back is not taken for silent', async (t) => {
  const broker = await TestBroker.start()
  const rates = { messagesPerSecondMax: 1, bytesPerSecondMax: undefined }
  const publisher = broker.connect({ clientId: 'p', keepAliveSeconds: 2 }, { rates })
  for (let i = 0; i < 11; i++) publisher.publish('a', 'x')
  broker.passMs(9000)
  t.ok(publisher.link.isPaused)
  t.notOk(publisher.link.isEnded)
  broker.passMs(6000)
  t.ok(publisher.link.isEnded, 'silent for three seconds once it was listened to')
})

t.test('a client that leaves while it is held back leaves nothing behind', async (t) => {
  const broker = await TestBroker.start()
  const rates = { messagesPerSecondMax: 1, bytesPerSecondMax: undefined }
  const publisher = broker.connect({ clientId: 'p' }, { rates })
  for (let i = 0; i < 5; i++) publisher.publish('a', 'x')
  publisher.link.close()
  broker.passMs(10_000)
  t.equal(broker.broker.counters.connectionCount, 0)
})

t.test('without a rate nobody is held', async (t) => {
  const broker = await TestBroker.start()
  const publisher = broker.connect({ clientId: 'p' })
  for (let i = 0; i < 5000; i++) publisher.publish('a', 'x')
  t.notOk(publisher.link.isPaused)
  publisher.send({ type: PacketType.pingreq })
  t.ok(publisher.take(PacketType.pingresp))
})
