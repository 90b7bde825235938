/** The bridges of a node, each from one `[[bridge]]`. */
import { Bridge } from '../bridge/bridge.ts'
import { DeviceList } from '../bridge/devices.ts'
import { Mapping } from '../bridge/mapping.ts'
import type { Marks } from '../bridge/marks.ts'
import { Uplink } from '../bridge/uplink.ts'
import type { BridgeSettings, Settings } from '../config/settings.ts'
import { Backoff } from '../lib/backoff.ts'
import type { Clock } from '../ports/clock.ts'
import type { LocalBroker } from '../ports/local.ts'
import type { Log } from '../ports/log.ts'
import type { Random } from '../ports/random.ts'
import type { Dialer } from '../ports/transport.ts'
import { makeDialers } from './dialers.ts'

/** The remote broker keeps what it has for us this long. */
const sessionExpirySeconds = 7 * 86_400

export interface BridgeParts {
  readonly local: LocalBroker
  readonly marks: Marks
  /** Identity of the local log. */
  readonly epoch: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** Made, not started. Rejects with the Failure ERR_CERTIFICATE. */
export async function makeBridges(settings: Settings, parts: BridgeParts): Promise<readonly Bridge[]> {
  const { local, clock } = parts
  const isTold = settings.sys.enabled && settings.bridges.some(({ notifications }) => notifications)
  const devices = isTold ? new DeviceList({ local, clock, nodeName: settings.name }) : undefined
  return Promise.all(settings.bridges.map((bridge) => makeBridge(bridge, settings, devices, parts)))
}

async function makeBridge(
  bridge: BridgeSettings,
  { mqtt }: Settings,
  devices: DeviceList | undefined,
  parts: BridgeParts,
): Promise<Bridge> {
  const { local, epoch, clock, random } = parts
  const log = parts.log.child({ part: `bridge ${bridge.name}` })
  const dialers = await makeDialers(bridge, mqtt.packetBytesMax)
  return new Bridge({
    settings: bridge,
    epoch,
    log,
    local,
    marks: parts.marks,
    devices,
    makeUplink: (owner) =>
      new Uplink({
        settings: {
          clientId: bridge.clientId,
          keepAliveSeconds: bridge.keepAliveSeconds,
          sessionExpirySeconds,
          inflightMax: bridge.inflightMax,
          packetBytesMax: mqtt.packetBytesMax,
          outputBytesMax: mqtt.outputBytesMax,
          connectTimeoutMs: bridge.connectTimeoutMs,
          ackTimeoutMs: bridge.ackTimeoutMs,
          peerSubscriptions: [],
          subscriptions: new Mapping(bridge.in, 'in').subscriptions.map(({ topicFilter, qos }) => ({
            topicFilter,
            // QoS 2 would say nothing more: what crosses twice is recognised by its number.
            qos: qos === 0 ? 0 : 1,
            noLocal: true,
            retainAsPublished: true,
            retainHandling: 2,
          })),
        },
        dialer: dialers[0] as Dialer,
        clock,
        backoff: new Backoff(bridge.reconnectMinMs, bridge.reconnectMaxMs, () => random.next()),
        log,
        owner,
      }),
  })
}
