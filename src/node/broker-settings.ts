/** Settings as people write them -> limits of the broker core. */

import { packageVersion } from '../adapters/system/version.ts'
import type { BrokerSettings } from '../broker/settings.ts'
import type { Settings } from '../config/settings.ts'

/** In settings as on the wire, this many seconds mean for ever. */
const foreverSeconds = 4_294_967_295

/** @param lossTopic where the summary of the ledger is published */
export function brokerSettings({ name, mqtt, store, sys }: Settings, lossTopic: string): BrokerSettings {
  const sessionExpirySecondsMax = seconds(mqtt.sessionExpirySecondsMax)
  return {
    packetBytesMax: mqtt.packetBytesMax,
    inflightMax: mqtt.inflightMax,
    receiveMaximum: mqtt.receiveMaximum,
    queueCountMax: mqtt.queueCountMax,
    outputBytesMax: mqtt.outputBytesMax,
    sessionExpirySecondsMax,
    sessionExpirySecondsV3: Math.min(seconds(mqtt.sessionExpirySecondsV3), sessionExpirySecondsMax),
    connectTimeoutMs: mqtt.connectTimeoutSeconds * 1000,
    keepAliveSecondsMax: mqtt.keepAliveSecondsMax,
    topicLevelsMax: mqtt.topicLevelsMax,
    topicAliasMaximum: mqtt.topicAliasMaximum,
    responseInformation: mqtt.responseInformation,
    redirect:
      mqtt.serverReference === undefined
        ? undefined
        : { serverReference: mqtt.serverReference, when: mqtt.serverReferenceUse },
    sharedSubscriptionStrategy: mqtt.sharedSubscriptionStrategy,
    retainedCountMax: mqtt.retainedCountMax,
    retainedBytesMax: mqtt.retainedBytesMax,
    backlogCountMax: store.backlogCountMax,
    backlogBytesMax: store.backlogBytesMax,
    lossTopic,
    sys: sys.enabled
      ? {
          nodeName: name,
          version: packageVersion(),
          intervalMs: sys.intervalSeconds * 1000,
          heartbeatMs: sys.heartbeatSeconds * 1000,
          withMosquitto: sys.mosquitto,
        }
      : undefined,
  }
}

function seconds(value: number): number {
  return value >= foreverSeconds ? Number.POSITIVE_INFINITY : value
}
