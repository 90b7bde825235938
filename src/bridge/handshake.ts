/** CONNECT and CONNACK of a bridge: what this end says of itself, and what the remote side turns out to be. */
import { bridgeProperty } from '../ports/gateway-topics.ts'
import { nowProperty } from '../protocol/crossing.ts'
import { type Connack, type Connect, PacketType, type Qos, type UserProperties, type Will } from '../protocol/packet.ts'
import type { Dialect } from './routes.ts'

export interface HandshakeSettings {
  readonly clientId: string
  readonly username: string | undefined
  readonly password: string | undefined
  readonly keepAliveSeconds: number
  /** How long the remote broker keeps our subscriptions and what waits for them while we are away. */
  readonly sessionExpirySeconds: number
  /** QoS >= 1 messages without acknowledgement in either direction. */
  readonly inflightMax: number
  /** Largest packet that is accepted, in bytes. */
  readonly packetBytesMax: number
}

/** What a CONNECT says of this end. */
export interface Greeting {
  readonly will: Will | undefined
  readonly userProperties: UserProperties
}

/** What the remote side turned out to be. */
export interface RemoteSide {
  /** The smaller of ours and the remote Receive Maximum. */
  readonly inflightMax: number
  /** It is a Tidegate that takes us as a gateway. */
  readonly isPeer: boolean
  readonly version: 4 | 5
  /** It kept our session. */
  readonly isSessionPresent: boolean
  /** It may send back what we send it: it knows neither No Local nor the bit of a bridge. */
  readonly echoes: boolean
  /** What it calls itself on the way of a message (path.ts); undefined when it does not say. */
  readonly id: string | undefined
  /** How far its timeline is ahead of ours, to half a round trip; undefined when it does not say. */
  readonly aheadMs: number | undefined
}

/** What a remote side allows us to send. */
export interface Terms {
  readonly packetBytesMax: number
  readonly qosMax: Qos
  readonly isRetainTaken: boolean
  /** `Infinity` = it may be silent for as long as it likes. */
  readonly keepAliveMs: number
}

export function connectPacket(
  settings: HandshakeSettings,
  { version, isBridge }: Dialect,
  greeting: Greeting,
): Connect {
  return {
    type: PacketType.connect,
    version,
    isBridge,
    cleanStart: false,
    keepAliveSeconds: settings.keepAliveSeconds,
    clientId: settings.clientId,
    username: settings.username,
    password: settings.password === undefined ? undefined : Buffer.from(settings.password),
    will: greeting.will,
    properties: {
      userProperties: greeting.userProperties,
      sessionExpiryInterval: settings.sessionExpirySeconds,
      receiveMaximum: settings.inflightMax,
      maximumPacketSize: settings.packetBytesMax,
    },
  }
}

export function termsOf({ properties }: Connack, settings: HandshakeSettings): Terms {
  const keepAliveMs = (properties?.serverKeepAlive ?? settings.keepAliveSeconds) * 1000 // [MQTT-3.2.2-21]
  return {
    packetBytesMax: properties?.maximumPacketSize ?? Number.POSITIVE_INFINITY,
    qosMax: (properties?.maximumQos ?? 2) as Qos,
    isRetainTaken: properties?.retainAvailable !== 0,
    keepAliveMs: keepAliveMs === 0 ? Number.POSITIVE_INFINITY : keepAliveMs,
  }
}

/**
 * @param askedAtMs when CONNECT left
 * @param answeredAtMs when CONNACK came
 */
export function remoteSideOf(
  { properties, sessionPresent }: Connack,
  settings: HandshakeSettings,
  { version, isBridge }: Dialect,
  askedAtMs: number,
  answeredAtMs: number,
): RemoteSide {
  const said = new Map(properties?.userProperties)
  const id = said.get(bridgeProperty)
  const remoteMs = Number(said.get(nowProperty) ?? Number.NaN)
  return {
    inflightMax: Math.min(settings.inflightMax, properties?.receiveMaximum ?? 65_535), // [MQTT-3.3.4-7]
    isPeer: id !== undefined,
    version,
    isSessionPresent: sessionPresent,
    echoes: version === 4 && !isBridge,
    id,
    aheadMs: Number.isNaN(remoteMs) ? undefined : remoteMs - (askedAtMs + answeredAtMs) / 2,
  }
}
