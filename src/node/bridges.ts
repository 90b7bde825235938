/** The bridges of a node, each from one `[[bridge]]`. */
import { join } from 'node:path'
import { createFilterFile } from '../adapters/filter-file/filter-file.ts'
import { Bridge } from '../bridge/bridge.ts'
import { DeviceList } from '../bridge/devices.ts'
import type { Marks } from '../bridge/marks.ts'
import { GatewayReceiver } from '../bridge/receiver.ts'
import { bridgeSubscriptions, subscriptionsFor } from '../bridge/remote-subscriptions.ts'
import { responseSubscription } from '../bridge/responses.ts'
import { Uplink } from '../bridge/uplink.ts'
import { type BridgeSettings, type Settings, safestDurability } from '../config/settings.ts'
import { Backoff } from '../lib/backoff.ts'
import type { AlarmBoard } from '../ports/alarms.ts'
import type { Clock } from '../ports/clock.ts'
import type { FilterMemory } from '../ports/filter-memory.ts'
import type { LocalBroker } from '../ports/local.ts'
import type { Log } from '../ports/log.ts'
import type { Random } from '../ports/random.ts'
import { makeDialers } from './dialers.ts'

/** The remote broker keeps what it has for us this long. */
const sessionExpirySeconds = 7 * 86_400

/** What waits for a bridge that is not there any more is kept this long. */
const forgottenSeconds = 7 * 86_400

export interface BridgeParts {
  readonly local: LocalBroker
  readonly alarms: AlarmBoard
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
  const bridges = await Promise.all(settings.bridges.map((bridge) => makeBridge(bridge, settings, devices, parts)))
  reportForgotten(parts)
  return bridges
}

/** A bridge that was taken out of the settings leaves its session behind, which would hold the log for ever. */
function reportForgotten({ local, log }: BridgeParts): void {
  const counts = new Map<string, number>()
  for (const { clientId, backlogCount } of local.endForgotten(forgottenSeconds)) {
    const name = clientId.split('/')[1] ?? clientId
    counts.set(name, Math.max(backlogCount, counts.get(name) ?? 0))
  }
  for (const [bridge, count] of counts) {
    log.warn(
      { bridge, count },
      'messages wait for a bridge that is in no [[bridge]] any more: name it again to have them sent, or they are dropped 7 days after it was gone',
    )
  }
}

async function makeBridge(
  bridge: BridgeSettings,
  settings: Settings,
  devices: DeviceList | undefined,
  parts: BridgeParts,
): Promise<Bridge> {
  const { mqtt } = settings
  const { local, epoch, clock, random } = parts
  const log = parts.log.child({ part: `bridge ${bridge.name}` })
  const receiver = new GatewayReceiver(parts.marks, clock)
  receiver.onGap = (gap) => {
    const { lane, firstSeq, lastSeq } = gap
    if (gap.isUnexplained) log.error({ lane, firstSeq, seq: lastSeq }, 'messages of the remote broker are missing')
  }
  const dialers = await makeDialers(bridge, mqtt.packetBytesMax)
  return new Bridge({
    settings: bridge,
    epoch,
    log,
    clock,
    local,
    receiver,
    marks: parts.marks,
    alarms: parts.alarms,
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
          username: bridge.username,
          password: bridge.password,
          protocol: bridge.protocol,
          returnMs: bridge.returnSeconds * 1000,
          isOnce: bridge.startType === 'once',
          peerSubscriptions: [...bridgeSubscriptions, responseSubscription(bridge)],
          subscriptions: [
            ...subscriptionsFor(bridge.in),
            ...(bridge.ownResponseTopics ? [responseSubscription(bridge)] : []),
          ],
        },
        dialers,
        memory: memoryOf(bridge, settings, log),
        clock,
        backoff: new Backoff(
          bridge.reconnectMinMs,
          bridge.reconnectMaxMs,
          () => random.next(),
          bridge.reconnectSpreadMs ?? 4 * bridge.reconnectMinMs,
        ),
        log,
        owner,
      }),
  })
}

/** What is not kept anyway needs no memory beyond the process. */
function memoryOf({ name }: BridgeSettings, settings: Settings, log: Log): FilterMemory {
  if (safestDurability(settings) !== 'ram')
    return createFilterFile(join(settings.dataDir, 'bridges', `${name}.json`), log)
  return { load: () => new Map(), save: () => undefined }
}
