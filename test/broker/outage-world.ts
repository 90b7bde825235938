/** A broker whose store holds no commit while it is out, and clients with durable sessions. */
import type { Test } from 'tap'
import { MemoryDisk } from '../../src/adapters/store-memory/disk.ts'
import { MemoryStore } from '../../src/adapters/store-memory/store.ts'
import type { Clock } from '../../src/ports/clock.ts'
import { type Connect, PacketType, type Qos, type Version } from '../../src/protocol/packet.ts'
import { RecordingLog } from '../fakes/recording-log.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { TestBroker, type TestClient } from '../fakes/test-broker.ts'
import { VirtualClock } from '../fakes/virtual-clock.ts'

export const durable = (clientId: string, version: Version = 5) =>
  ({
    clientId,
    version,
    cleanStart: false,
    properties: version === 5 ? { sessionExpiryInterval: 3600 } : undefined,
  }) as Connect & { clientId: string }

export async function world(disk = new MemoryDisk()) {
  const clock = new VirtualClock()
  const held: (() => void)[] = []
  let isOut = false
  const storeClock: Clock = {
    nowMs: () => clock.nowMs(),
    wallMs: () => clock.wallMs(),
    after: (delayMs, task) => clock.after(delayMs, task),
    afterTurn: (task) => void (isOut ? held.push(task) : clock.afterTurn(task)),
  }
  const log = new RecordingLog()
  const store = new MemoryStore({ clock: storeClock, random: new SeededRandom(1), disk })
  const broker = await TestBroker.start({ clock, store, log })
  return {
    broker,
    log,
    fail: () => {
      isOut = true
    },
    recover: () => {
      isOut = false
      for (const task of held.splice(0)) task()
      broker.settle()
    },
  }
}

export function ask(client: TestClient, packetId: number, topicFilter: string, qos: Qos = 1): void {
  const request = { topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 as const }
  client.send({ type: PacketType.subscribe, packetId, subscriptions: [request], properties: undefined })
}

/** With QoS 1, to `a` and not to `b`. */
export function isSubscribedToAOnly(t: Test, broker: TestBroker, client: TestClient): void {
  const publisher = broker.connect({ clientId: 'p' })
  publisher.publish('a', 'kept', { qos: 1 })
  publisher.publish('b', 'refused', { qos: 1 })
  const message = client.takePublish()
  t.match([message.payload.toString(), message.qos], ['kept', 1])
  t.strictSame(client.takePayloads(), [])
}
