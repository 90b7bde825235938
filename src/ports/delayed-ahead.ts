/**
 * Delayed messages that a bridge sends ahead, to wait at the broker above. When one is published, what is for the bridge
 * goes into the log at once, under a topic that only bridges subscribe to; the bridge sends what is left of the delay.
 */
import type { Publish } from '../protocol/packets/publish.ts'

/** Who holds a delayed message that crosses a bridge. */
export type DelayHolder = 'edge' | 'cloud' | 'both'

const tree = '$bridge/delayed/'

/** When it is due, on the timeline of this broker. */
const dueProperty = 'x-b-due'

/** On what is held here as well: it waits above already. */
const heldProperty = 'x-b-held'

/** What a bridge subscribes to beside `topicFilter`. */
export function aheadFilter(holder: 'cloud' | 'both', topicFilter: string): string {
  return `${tree}${holder}/${topicFilter}`
}

export function aheadMessage(message: Publish, holder: 'cloud' | 'both', dueAtMs: number): Publish {
  const ahead = message.withTopic(aheadFilter(holder, message.topic))
  // It crosses now or never, so it waits in the log whatever its QoS.
  if (ahead.qos === 0) ahead.qos = 1
  ahead.properties = withProperty(message, dueProperty, String(Math.ceil(dueAtMs)))
  return ahead
}

/** undefined when `message` was not sent ahead. */
export function readAhead(message: Publish): { readonly message: Publish; readonly dueAtMs: number } | undefined {
  if (!message.topic.startsWith(tree)) return undefined
  const inner = message.withTopic(message.topic.slice(message.topic.indexOf('/', tree.length) + 1))
  const userProperties = message.properties?.userProperties ?? []
  const due = userProperties.find(([name]) => name === dueProperty)?.[1]
  const left = userProperties.filter(([name]) => name !== dueProperty)
  inner.properties = { ...message.properties, userProperties: left.length === 0 ? undefined : left }
  return { message: inner, dueAtMs: Number(due ?? 0) }
}

/** Marks what is held here although it waits above too. */
export function markHeld(message: Publish): void {
  message.properties = withProperty(message, heldProperty, '1')
}

export function isHeldAbove({ properties }: Publish): boolean {
  return properties?.userProperties?.some(([name]) => name === heldProperty) ?? false
}

function withProperty({ properties }: Publish, name: string, value: string): Publish['properties'] {
  return { ...properties, userProperties: [...(properties?.userProperties ?? []), [name, value]] }
}
