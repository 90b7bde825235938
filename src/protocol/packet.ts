/**
 * The packets of MQTT 3.1.1 and 5.0 as values: one model for all versions, the differences live in the codec.
 * Optional properties are `undefined`, never absent keys, so that every packet of a kind has one object shape.
 */
import type { ReasonCode } from './reason.ts'

export type Qos = 0 | 1 | 2

/** Protocol level on the wire: 3 = MQTT 3.1 (MQIsdp), 4 = MQTT 3.1.1, 5 = MQTT 5.0. */
export type Version = 3 | 4 | 5

export const PacketType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const
export type PacketType = (typeof PacketType)[keyof typeof PacketType]

/** Order is kept and names may repeat (MQTT 5.0 §3.3.2.3.7). */
export type UserProperties = readonly (readonly [name: string, value: string])[]

export type Connect = {
  readonly type: typeof PacketType.connect
  readonly version: Version
  /** Mosquitto's private bit 0x80 of the protocol level: the peer is a bridge. */
  readonly isBridge: boolean
  readonly cleanStart: boolean
  readonly keepAliveSeconds: number
  readonly clientId: string
  readonly username: string | undefined
  readonly password: Buffer | undefined
  readonly will: Will | undefined
  readonly properties: ConnectProperties | undefined
}

export type Will = {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  readonly properties: WillProperties | undefined
}

export type Connack = {
  readonly type: typeof PacketType.connack
  readonly sessionPresent: boolean
  /** A 5.0 code in every version; the codec turns it into the 3.1.1 return code where there is one. */
  readonly reasonCode: ReasonCode
  readonly properties: ConnackProperties | undefined
}

export type AckType =
  | typeof PacketType.puback
  | typeof PacketType.pubrec
  | typeof PacketType.pubrel
  | typeof PacketType.pubcomp

export type Ack = {
  readonly type: AckType
  readonly packetId: number
  readonly reasonCode: ReasonCode
  readonly properties: ReasonProperties | undefined
}

export type SubscriptionRequest = {
  readonly topicFilter: string
  readonly qos: Qos
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  /** 0 send retained, 1 only for a new subscription, 2 do not send. */
  readonly retainHandling: 0 | 1 | 2
}

export type Subscribe = {
  readonly type: typeof PacketType.subscribe
  readonly packetId: number
  readonly subscriptions: readonly SubscriptionRequest[]
  readonly properties: SubscribeProperties | undefined
}

export type Suback = {
  readonly type: typeof PacketType.suback
  readonly packetId: number
  readonly reasonCodes: readonly ReasonCode[]
  readonly properties: ReasonProperties | undefined
}

export type Unsubscribe = {
  readonly type: typeof PacketType.unsubscribe
  readonly packetId: number
  readonly topicFilters: readonly string[]
  readonly properties: UserOnlyProperties | undefined
}

export type Unsuback = {
  readonly type: typeof PacketType.unsuback
  readonly packetId: number
  /** Not on the wire before 5.0. */
  readonly reasonCodes: readonly ReasonCode[]
  readonly properties: ReasonProperties | undefined
}

export type Pingreq = { readonly type: typeof PacketType.pingreq }
export type Pingresp = { readonly type: typeof PacketType.pingresp }

export type Disconnect = {
  readonly type: typeof PacketType.disconnect
  readonly reasonCode: ReasonCode
  readonly properties: DisconnectProperties | undefined
}

export type Auth = {
  readonly type: typeof PacketType.auth
  readonly reasonCode: ReasonCode
  readonly properties: AuthProperties | undefined
}

/** Every packet but PUBLISH, which is a class of its own (packets/publish.ts). */
export type ControlPacket =
  | Connect
  | Connack
  | Ack
  | Subscribe
  | Suback
  | Unsubscribe
  | Unsuback
  | Pingreq
  | Pingresp
  | Disconnect
  | Auth

// The properties of 5.0 §2.2.2.2, by the packets that carry them. Numbers are plain, binary data are owned Buffers.

export type PublishProperties = {
  readonly payloadFormatIndicator?: 0 | 1 | undefined
  readonly messageExpiryInterval?: number | undefined
  readonly topicAlias?: number | undefined
  readonly responseTopic?: string | undefined
  readonly correlationData?: Buffer | undefined
  readonly userProperties?: UserProperties | undefined
  readonly subscriptionIdentifiers?: readonly number[] | undefined
  readonly contentType?: string | undefined
}

export type WillProperties = {
  readonly willDelayInterval?: number | undefined
  readonly payloadFormatIndicator?: 0 | 1 | undefined
  readonly messageExpiryInterval?: number | undefined
  readonly contentType?: string | undefined
  readonly responseTopic?: string | undefined
  readonly correlationData?: Buffer | undefined
  readonly userProperties?: UserProperties | undefined
}

export type ConnectProperties = {
  readonly sessionExpiryInterval?: number | undefined
  readonly receiveMaximum?: number | undefined
  readonly maximumPacketSize?: number | undefined
  readonly topicAliasMaximum?: number | undefined
  readonly requestResponseInformation?: 0 | 1 | undefined
  readonly requestProblemInformation?: 0 | 1 | undefined
  readonly userProperties?: UserProperties | undefined
  readonly authenticationMethod?: string | undefined
  readonly authenticationData?: Buffer | undefined
}

export type ConnackProperties = {
  readonly sessionExpiryInterval?: number | undefined
  readonly receiveMaximum?: number | undefined
  readonly maximumQos?: 0 | 1 | undefined
  readonly retainAvailable?: 0 | 1 | undefined
  readonly maximumPacketSize?: number | undefined
  readonly assignedClientIdentifier?: string | undefined
  readonly topicAliasMaximum?: number | undefined
  readonly reasonString?: string | undefined
  readonly userProperties?: UserProperties | undefined
  readonly wildcardSubscriptionAvailable?: 0 | 1 | undefined
  readonly subscriptionIdentifierAvailable?: 0 | 1 | undefined
  readonly sharedSubscriptionAvailable?: 0 | 1 | undefined
  readonly serverKeepAlive?: number | undefined
  readonly responseInformation?: string | undefined
  readonly serverReference?: string | undefined
  readonly authenticationMethod?: string | undefined
  readonly authenticationData?: Buffer | undefined
}

export type ReasonProperties = {
  readonly reasonString?: string | undefined
  readonly userProperties?: UserProperties | undefined
}

export type SubscribeProperties = {
  readonly subscriptionIdentifier?: number | undefined
  readonly userProperties?: UserProperties | undefined
}

export type UserOnlyProperties = { readonly userProperties?: UserProperties | undefined }

export type DisconnectProperties = {
  readonly sessionExpiryInterval?: number | undefined
  readonly reasonString?: string | undefined
  readonly userProperties?: UserProperties | undefined
  readonly serverReference?: string | undefined
}

export type AuthProperties = {
  readonly authenticationMethod?: string | undefined
  readonly authenticationData?: Buffer | undefined
  readonly reasonString?: string | undefined
  readonly userProperties?: UserProperties | undefined
}
