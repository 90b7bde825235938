/** Settings as people write them -> limits of the broker core. */

import { packageVersion } from '../adapters/system/version.ts'
import type { LaneLimits } from '../broker/lane-rules.ts'
import type { BrokerSettings } from '../broker/settings.ts'
import type { LaneSettings, Settings } from '../config/settings.ts'
import { Lane, laneNames } from '../ports/lane.ts'

/** In settings as on the wire, this many seconds mean for ever. */
const foreverSeconds = 4_294_967_295

/** Some 100 bytes each. */
const deletedCountMax = 10_000

/** @param lossTopic where the summary of the ledger is published */
export function brokerSettings(settings: Settings, lossTopic: string): BrokerSettings {
  const { name, mqtt, store, delayed, queue, lane, topic, sys, listeners } = settings
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
    subscribeWaitMsMax: store.subscribeWaitSecondsMax * 1000,
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
    retainedMessagesPerSecondMax: mqtt.retainedMessagesPerSecondMax ?? Number.POSITIVE_INFINITY,
    retainedBytesMax: mqtt.retainedBytesMax,
    deletedCountMax: settings.bridges.length > 0 || listeners.some(({ gateways }) => gateways) ? deletedCountMax : 0,
    delayLimits: delayed,
    queueLimits: {
      countMax: queue.countMax ?? Number.POSITIVE_INFINITY,
      bytesMax: queue.bytesMax ?? Number.POSITIVE_INFINITY,
      ageMsMax: (queue.ageSecondsMax ?? Number.POSITIVE_INFINITY) * 1000,
      whenFull: queue.whenFull,
      keepsQos0: queue.qos0,
    },
    laneRules: topic.map((rule) => ({ topicFilter: rule.filter, lane: Lane[rule.lane], durability: rule.durability })),
    laneLimits: laneNames.map((laneName) => laneLimits(lane[laneName])),
    laneDurabilities: laneNames.map((laneName) => lane[laneName].durability),
    retainedPayloadBytesMax: mqtt.retainedPayloadBytesMax,
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

function laneLimits({ bytesMax, countMax, ageSecondsMax, whenFull }: LaneSettings): LaneLimits {
  return { bytesMax, countMax, ageMsMax: (ageSecondsMax ?? Number.POSITIVE_INFINITY) * 1000, whenFull }
}

function seconds(value: number): number {
  return value >= foreverSeconds ? Number.POSITIVE_INFINITY : value
}
