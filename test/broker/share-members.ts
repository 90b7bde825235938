/** Members of shared subscriptions, and what they get. */
import type { Connect } from '../../src/protocol/packet.ts'
import { Publish } from '../../src/protocol/packets/publish.ts'
import type { TestBroker, TestClient } from '../fakes/test-broker.ts'

export const durable = (clientId: string): Connect & { clientId: string } =>
  ({ clientId, version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } }) as Connect

/** A client without a durable session that is a member. */
export function join(broker: TestBroker, clientId: string, qos: 0 | 1 | 2 = 0, filter = '$share/g/a/#'): TestClient {
  const client = broker.connect({ clientId, version: 5 })
  client.subscribe(filter, { qos })
  return client
}

export function publishAll(publisher: TestClient, payloads: readonly (string | number)[], qos: 0 | 1 = 0): void {
  for (const [index, payload] of payloads.entries())
    publisher.publish('a/b', String(payload), { qos, packetId: index + 1 })
}

export function messagesOf(client: TestClient): Publish[] {
  return client.takeAll().filter((packet) => packet instanceof Publish)
}

/** Takes and acknowledges until nothing more comes. */
export function drain(...clients: TestClient[]): string[] {
  const seen: string[] = []
  for (let isBusy = true; isBusy; ) {
    isBusy = false
    for (const client of clients) {
      for (const message of messagesOf(client)) {
        isBusy = true
        seen.push(message.payload.toString())
        if (message.qos === 1) client.puback(message.packetId)
      }
    }
  }
  return seen
}

export const oneTo = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index + 1))
