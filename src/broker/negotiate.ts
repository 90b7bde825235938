/**
 * CONNECT against the limits of this broker: what the connection may do, and the CONNACK properties that say so
 * (MQTT 5.0 §3.1.2.11, §3.2.2.3). Pure; decides nothing about who the client is.
 */
import type { ConnackProperties, Connect } from '../protocol/packet.ts'
import type { BrokerSettings } from './settings.ts'

export interface Agreement {
  readonly clientId: string
  readonly keepAliveMs: number
  readonly expiryIntervalSeconds: number
  readonly inflightMax: number
  /** Topic aliases that may be set towards the client. */
  readonly topicAliasMaximum: number
  readonly connackProperties: ConnackProperties | undefined
}

/** Session Expiry Interval on the wire that means "never". */
const neverExpires = 0xffff_ffff

/** @param newClientId for clients that bring none */
export function negotiate(connect: Connect, settings: BrokerSettings, newClientId: () => string): Agreement {
  const isAssigned = connect.clientId === ''
  const clientId = isAssigned ? newClientId() : connect.clientId
  const asked = connect.properties
  const expiry = expirySeconds(connect, settings)
  const keepAliveSeconds = keepAlive(connect.keepAliveSeconds, settings.keepAliveSecondsMax)
  return {
    clientId,
    keepAliveMs: keepAliveSeconds * 1000,
    expiryIntervalSeconds: expiry,
    inflightMax: Math.min(settings.inflightMax, asked?.receiveMaximum ?? 65_535),
    topicAliasMaximum: Math.min(settings.topicAliasMaximum, asked?.topicAliasMaximum ?? 0), // [MQTT-3.1.2-27]
    connackProperties:
      connect.version < 5
        ? undefined
        : {
            sessionExpiryInterval: expiry === requestedExpiry(connect) ? undefined : wireExpiry(expiry),
            receiveMaximum: settings.receiveMaximum,
            maximumPacketSize: settings.packetBytesMax,
            retainAvailable: settings.retainedCountMax === 0 ? 0 : undefined,
            assignedClientIdentifier: isAssigned ? clientId : undefined, // [MQTT-3.2.2-16]
            topicAliasMaximum: settings.topicAliasMaximum,
            responseInformation:
              asked?.requestResponseInformation === 1 // [MQTT-3.1.2-28]
                ? settings.responseInformation?.replaceAll('{client_id}', clientId)
                : undefined,
            serverKeepAlive: keepAliveSeconds === connect.keepAliveSeconds ? undefined : keepAliveSeconds, // [MQTT-3.2.2-21]
          },
  }
}

/** Session Expiry Interval of a DISCONNECT in seconds, bounded like that of CONNECT. */
export function boundedExpirySeconds(wire: number, settings: BrokerSettings): number {
  return Math.min(wire === neverExpires ? Number.POSITIVE_INFINITY : wire, settings.sessionExpirySecondsMax)
}

function requestedExpiry(connect: Connect): number {
  const wire = connect.properties?.sessionExpiryInterval ?? 0
  return wire === neverExpires ? Number.POSITIVE_INFINITY : wire
}

function expirySeconds(connect: Connect, settings: BrokerSettings): number {
  if (connect.version === 5) return Math.min(requestedExpiry(connect), settings.sessionExpirySecondsMax)
  return connect.cleanStart ? 0 : settings.sessionExpirySecondsV3
}

function wireExpiry(seconds: number): number {
  return seconds === Number.POSITIVE_INFINITY ? neverExpires : seconds
}

/** 0 = no keep-alive; a bound, where there is one, also bounds that. */
function keepAlive(asked: number, bound: number): number {
  if (bound === 0) return asked
  return asked === 0 ? bound : Math.min(asked, bound)
}
