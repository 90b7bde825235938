/**
 * The house map of src/README.md, walked: one QoS 1 message goes from a device's socket to a durable subscriber's,
 * and every step of the map is seen at work, by name and in order. A step that moves elsewhere fails here.
 */
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { listenTcp } from '../src/adapters/net/tcp.ts'
import { MemoryStore } from '../src/adapters/store-memory/store.ts'
import { createSystemClock } from '../src/adapters/system/clock.ts'
import { AckQueue } from '../src/broker/ack-queue.ts'
import { Connection } from '../src/broker/connection.ts'
import { IncomingPublishes } from '../src/broker/incoming-publishes.ts'
import { Outbox } from '../src/broker/outbox.ts'
import { PublishPath } from '../src/broker/publish.ts'
import { Router } from '../src/broker/router.ts'
import type { Link, LinkOwner, ListenerTraits } from '../src/ports/transport.ts'
import { FrameDecoder } from '../src/protocol/frame.ts'
import { OutputBuffer } from '../src/protocol/output.ts'
import { TopicMemo } from '../src/protocol/packets/publish.ts'
import { SeededRandom } from './fakes/seeded-random.ts'
import { silentLog, TestBroker } from './fakes/test-broker.ts'
import type { VirtualClock } from './fakes/virtual-clock.ts'

const map = readFileSync(new URL('../src/README.md', import.meta.url), 'utf8')

t.test('every file that the map names is there', async (t) => {
  const names = new Set(
    map.match(/\b(?:lib|protocol|ports|broker|bridge|gateway|adapters|config|node|cli)\/[\w/-]+\.ts\b/g),
  )
  t.ok(names.size > 20, `${names.size} files`)
  for (const name of names) t.ok(existsSync(new URL(`../src/${name}`, import.meta.url)), name)
})

t.test('one QoS 1 message takes the steps of the map, in their order', async (t) => {
  const clock = createSystemClock(undefined)
  const store = new MemoryStore({ clock, random: new SeededRandom(1) })
  const { broker } = await TestBroker.start({ clock: clock as unknown as VirtualClock, store })
  const steps: string[] = []
  const traits: ListenerTraits = {
    name: 'walk',
    mountpoint: undefined,
    requireIdentity: false,
    allowAnonymous: true,
    acceptsGateways: false,
  }
  const watched = { accept: (link: Link, of: ListenerTraits): LinkOwner => broker.accept(watchedLink(link, steps), of) }
  const listener = await listenTcp({ bind: { host: '127.0.0.1', port: 0 } }, watched, traits, silentLog)
  t.teardown(() => listener.close())

  const subscriber = await open(t, listener.address.port)
  subscriber.socket.write(connectPacket('s', true))
  await subscriber.received(0x20)
  subscriber.socket.write(Buffer.from([0x82, 9, 0, 1, 0, 0, 3, ...Buffer.from('w/#'), 1]))
  await subscriber.received(0x90)
  const publisher = await open(t, listener.address.port)
  publisher.socket.write(connectPacket('p', false))
  await publisher.received(0x20)

  const restore = [
    spy(Connection.prototype, 'receive', '4 broker/connection.ts', steps),
    spy(FrameDecoder.prototype, 'push', '2 protocol/frame.ts', steps),
    spy(TopicMemo.prototype, 'read', '3 protocol/packets/publish.ts', steps),
    spy(PublishPath.prototype, 'publish', '6 broker/publish.ts', steps),
    spy(Router.prototype, 'match', '7 broker/router.ts', steps),
    spy(store.log, 'append', '8 ports/store.ts', steps),
    spy(AckQueue.prototype, 'onDurable', 'broker/ack-queue.ts', steps),
    spy(IncomingPublishes.prototype, 'receive', '5 broker/incoming-publishes.ts', steps),
    spy(Outbox.prototype, 'sendPublish', '9 broker/deliver.ts', steps),
    spy(OutputBuffer.prototype, 'ensure', '10 protocol/output.ts', steps),
  ]
  t.teardown(() => {
    for (const undo of restore) undo()
  })
  steps.length = 0
  publisher.socket.write(Buffer.from([0x32, 8, 0, 3, ...Buffer.from('w/x'), 0, 7, 0]))
  const puback = await publisher.received(0x40)
  const delivered = await subscriber.received(0x32)
  t.same([...puback.subarray(0, 4)], [0x40, 2, 0, 7])
  t.same([...delivered.subarray(2, 7)], [0, 3, ...Buffer.from('w/x')])

  const first = [...new Set(steps)]
  t.same(first, [
    '4 broker/connection.ts',
    '2 protocol/frame.ts',
    '3 protocol/packets/publish.ts',
    '5 broker/incoming-publishes.ts',
    '6 broker/publish.ts',
    '7 broker/router.ts',
    '8 ports/store.ts',
    'broker/ack-queue.ts', // The commit is durable: PUBACK first, which already takes bytes of step 10.
    '10 protocol/output.ts',
    '9 broker/deliver.ts',
    '11 adapters/net/socket-link.ts',
  ])
})

/** The link as the broker gets it; what it sends is step 11. */
function watchedLink(link: Link, steps: string[]): Link {
  spy(link, 'send', '11 adapters/net/socket-link.ts', steps)
  return link
}

/** Calls of `name` go on as they are and leave a step behind. @returns undoes it */
function spy<T extends object>(target: T, name: keyof T & string, step: string, steps: string[]): () => void {
  const own = Object.getOwnPropertyDescriptor(target, name)
  const original = target[name] as (...args: unknown[]) => unknown
  Object.defineProperty(target, name, {
    configurable: true,
    writable: true,
    value(this: T, ...args: unknown[]) {
      steps.push(step)
      return original.apply(this, args)
    },
  })
  return () => {
    if (own === undefined) delete target[name]
    else Object.defineProperty(target, name, own)
  }
}

/** CONNECT of MQTT 5.0, with a session of an hour or with none. */
function connectPacket(clientId: string, isDurable: boolean): Buffer {
  const properties = isDurable ? [5, 0x11, 0, 0, 0x0e, 0x10] : [0]
  const body = [0, 4, ...Buffer.from('MQTT'), 5, isDurable ? 0 : 2, 0, 0, ...properties, 0, clientId.length]
  return Buffer.from([0x10, body.length + clientId.length, ...body, ...Buffer.from(clientId)])
}

/** A client as bytes. `received` waits for a packet that begins with this byte and is the first of its write. */
async function open(t: Test, port: number) {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  await once(socket, 'connect')
  return {
    socket,
    async received(firstByte: number): Promise<Buffer> {
      for (;;) {
        const chunk = chunks.find((candidate) => candidate[0] === firstByte)
        if (chunk !== undefined) return chunk
        await once(socket, 'data')
      }
    },
  }
}
