/** Where the topics of a client are at this broker, and what that makes of its will. */
import type { Authorizer, Principal } from '../ports/auth.ts'
import { bridgeProperty, mountBridgeTopic } from '../ports/gateway-topics.ts'
import type { ListenerTraits } from '../ports/transport.ts'
import { nowProperty } from '../protocol/crossing.ts'
import type { ConnackProperties, Connect, Will } from '../protocol/packet.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import { mountTopic, parseDelayed } from './delayed-topic.ts'
import { messageOfWill } from './will.ts'

export interface Mount {
  readonly prefix: string
  /** The topic level of a gateway; empty for other clients. */
  readonly gateway: string
}

/** undefined when the identity would reach into somebody else's topics. */
export function mountpointOf(traits: ListenerTraits, identity: string): string | undefined {
  if (traits.mountpoint === undefined) return ''
  if (traits.mountpoint.includes('{identity}') && /[/+#]/.test(identity)) return undefined
  return traits.mountpoint.replaceAll('{identity}', identity)
}

export function mountedWill(will: Will, mount: Mount): { message: Publish; delaySeconds: number } {
  const bridgeTopic = bridgeTopicOf(will, mount)
  if (bridgeTopic === undefined) return messageOfWill(will, mountTopic(mount.prefix, will.topic))
  return messageOfWill({ ...will, retain: false }, bridgeTopic)
}

/** What a gateway says of its bridge is between it and the broker. */
export function mayPublishWill(authorizer: Authorizer, principal: Principal, will: Will, mount: Mount): boolean {
  const topic = mount.prefix + (parseDelayed(will.topic)?.topic ?? will.topic)
  return bridgeTopicOf(will, mount) !== undefined || authorizer.mayPublish(principal, topic)
}

/** CONNACK properties; a bridge of ours hears that we are one of its kind, and what our timeline says. */
export function greeted(
  connect: Connect,
  mount: Mount,
  properties: ConnackProperties | undefined,
  nowMs: number,
): ConnackProperties | undefined {
  if (!isPeer(connect, mount)) return properties
  return {
    ...properties,
    userProperties: [
      [bridgeProperty, '1'],
      [nowProperty, String(Math.round(nowMs))],
    ],
  }
}

/** A bridge of ours, which numbers its messages and wants those to it numbered. */
export function isPeer({ properties }: Connect, { gateway }: Mount): boolean {
  if (gateway === '') return false
  return properties?.userProperties?.some(([name]) => name === bridgeProperty) ?? false
}

function bridgeTopicOf(will: Will, { gateway }: Mount): string | undefined {
  return gateway === '' ? undefined : mountBridgeTopic(will.topic, gateway)
}
