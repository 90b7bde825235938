/**
 * What one Tidegate tells another beside a message that crosses between them, as user properties that the receiver takes
 * off again. Times are on the timeline of the upper broker, whichever way the message goes: the lower one knows how
 * far the two are apart (bridge/handshake.ts).
 */
import type { Qos, UserProperties } from './packet.ts'
import type { Publish } from './packets/publish.ts'

/** The QoS of the publisher, where that is above the QoS on the wire: numbers stand in for QoS 2. */
const qosProperty = 'x-b-qos'

/** When a retained message was set. */
const changedProperty = 'x-b-at'

/** In CONNACK: the timeline of the upper broker. */
export const nowProperty = 'x-b-now'

/**
 * @param qos that the message is to have on the other side
 * @param changedAtMs on the timeline of the upper broker; undefined = not known, or not retained
 */
export function crossingProperties(qos: Qos, sentQos: Qos, changedAtMs: number | undefined): UserProperties {
  const properties: (readonly [string, string])[] = []
  if (qos > sentQos) properties.push([qosProperty, String(qos)])
  if (changedAtMs !== undefined) properties.push([changedProperty, String(Math.round(changedAtMs))])
  return properties
}

/** Takes these properties off `message` and gives it what they say. */
export function takeCrossing(message: Publish): void {
  const userProperties = message.properties?.userProperties
  if (userProperties === undefined || !hasCrossing(userProperties)) return
  for (const [name, value] of userProperties) {
    if (name === qosProperty && /^[12]$/.test(value)) message.qos = Math.max(message.qos, Number(value)) as Qos
    if (name === changedProperty && /^\d{1,15}$/.test(value) && message.retain) message.changedAtMs = Number(value)
  }
  const left = userProperties.filter((property) => !isOfCrossing(property))
  message.properties = { ...message.properties, userProperties: left.length === 0 ? undefined : left }
}

function hasCrossing(userProperties: UserProperties): boolean {
  for (let i = 0; i < userProperties.length; i++) if (isOfCrossing(userProperties[i] as Pair)) return true
  return false
}

type Pair = UserProperties[number]

function isOfCrossing([name]: Pair): boolean {
  return name === qosProperty || name === changedProperty
}
