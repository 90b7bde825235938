/** The bridges of a node, each from one `[[bridge]]`, and what of them changes while they run. */
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { createFilterFile } from '../adapters/filter-file/filter-file.ts'
import { Bridge } from '../bridge/bridge.ts'
import { DeviceList } from '../bridge/devices.ts'
import type { Marks } from '../bridge/marks.ts'
import { GatewayReceiver } from '../bridge/receiver.ts'
import { bridgeSubscriptions, subscriptionsFor } from '../bridge/remote-subscriptions.ts'
import { ownResponseSubscriptions, responseSubscription } from '../bridge/responses.ts'
import { Uplink, type UplinkOwner } from '../bridge/uplink.ts'
import { type BridgeSettings, type Settings, safestDurability } from '../config/settings.ts'
import { Backoff } from '../lib/backoff.ts'
import type { AlarmBoard } from '../ports/alarms.ts'
import type { Clock } from '../ports/clock.ts'
import type { FilterMemory } from '../ports/filter-memory.ts'
import type { LocalBroker } from '../ports/local.ts'
import type { Log } from '../ports/log.ts'
import type { Random } from '../ports/random.ts'
import type { Dialer } from '../ports/transport.ts'
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

/** What can be taken over only by a new process: it is what the store and the remote broker know the bridge by. */
const fixedKeys = [
  'clientId',
  'inflightMax',
  'startType',
  'threshold',
  'idleTimeoutSeconds',
  'probeSeconds',
  'stuckSeconds',
  'notifications',
  'lostAfterSeconds',
  'delayedHolder',
  'ownResponseTopics',
] as const
const ruleKeys = ['out', 'in', 'both'] as const

interface Member {
  readonly bridge: Bridge
  readonly log: Log
  /** The settings that hold. */
  held: BridgeSettings
}

export class BridgeSet {
  readonly #parts: BridgeParts
  readonly #settings: Settings
  readonly #members: Member[] = []

  private constructor(settings: Settings, parts: BridgeParts) {
    this.#settings = settings
    this.#parts = parts
  }

  /** Made, not started. Rejects with the Failure ERR_CERTIFICATE. */
  static async make(settings: Settings, parts: BridgeParts): Promise<BridgeSet> {
    const { local, clock } = parts
    const set = new BridgeSet(settings, parts)
    const isTold = settings.sys.enabled && settings.bridges.some(({ notifications }) => notifications)
    const devices = isTold ? new DeviceList({ local, clock, nodeName: settings.name }) : undefined
    for (const held of settings.bridges) {
      const log = parts.log.child({ part: `bridge ${held.name}` })
      const makeUplink = await set.#uplinkMaker(held, log)
      set.#members.push({ bridge: makeBridge(held, { ...parts, log }, devices, makeUplink), log, held })
    }
    reportForgotten(parts)
    return set
  }

  get all(): readonly Bridge[] {
    return this.#members.map(({ bridge }) => bridge)
  }

  /**
   * Takes over rules, rate, addresses, credentials, timeouts and the content of certificate files.
   * @returns what needs a restart, by its name in the settings. Rejects with the Failure ERR_CERTIFICATE; nothing of
   * that bridge, or of those after it, is taken over then
   */
  async reload(wanted: readonly BridgeSettings[]): Promise<readonly string[]> {
    const needRestart: string[] = []
    for (const member of this.#members) {
      const next = wanted.find(({ name }) => name === member.held.name)
      if (next === undefined) needRestart.push(`bridge ${member.held.name}, which is gone`)
      else needRestart.push(...(await this.#reloadOne(member, next)))
    }
    for (const { name } of wanted) {
      if (!this.#members.some(({ held }) => held.name === name)) needRestart.push(`bridge ${name}, which is new`)
    }
    return needRestart
  }

  async #reloadOne(member: Member, wanted: BridgeSettings): Promise<readonly string[]> {
    const { bridge, held, log } = member
    const fixed = fixedKeys.filter((key) => !isDeepStrictEqual(held[key], wanted[key]))
    const next = { ...wanted, ...Object.fromEntries(fixedKeys.map((key) => [key, held[key]])) } as BridgeSettings
    const others = (Object.keys(next) as (keyof BridgeSettings)[]).filter((key) => {
      return (
        key !== 'rateMax' && !(ruleKeys as readonly string[]).includes(key) && !isDeepStrictEqual(held[key], next[key])
      )
    })
    // Before anything changes: certificates that cannot be used change nothing.
    const makeUplink = others.length > 0 ? await this.#uplinkMaker(next, log) : undefined
    const dialers = makeUplink === undefined ? await this.#dialers(next) : undefined
    member.held = next
    if (makeUplink !== undefined) {
      log.info({ settings: others.map(snakeCased) }, 'bridge connects anew with changed settings')
      bridge.reconnect(makeUplink)
    } else if (dialers !== undefined) bridge.dialWith(dialers)
    if (ruleKeys.some((key) => !isDeepStrictEqual(held[key], next[key]))) bridge.map(next)
    if (held.rateMax !== next.rateMax) bridge.limitRate(next.rateMax)
    return fixed.map((key) => `bridge ${next.name}: ${snakeCased(key)}`)
  }

  #dialers(bridge: BridgeSettings): Promise<readonly Dialer[]> {
    return makeDialers(bridge, this.#settings.mqtt.packetBytesMax)
  }

  async #uplinkMaker(bridge: BridgeSettings, log: Log): Promise<(owner: UplinkOwner) => Uplink> {
    const { mqtt } = this.#settings
    const { clock, random } = this.#parts
    const dialers = await this.#dialers(bridge)
    return (owner) =>
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
          subscriptions: [...subscriptionsFor(bridge.in), ...ownResponseSubscriptions(bridge)],
        },
        dialers,
        memory: memoryOf(bridge, this.#settings, log),
        clock,
        backoff: new Backoff(
          bridge.reconnectMinMs,
          bridge.reconnectMaxMs,
          () => random.next(),
          bridge.reconnectSpreadMs ?? 4 * bridge.reconnectMinMs,
        ),
        log,
        owner,
      })
  }
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

function makeBridge(
  settings: BridgeSettings,
  { local, epoch, clock, marks, alarms, log }: BridgeParts,
  devices: DeviceList | undefined,
  makeUplink: (owner: UplinkOwner) => Uplink,
): Bridge {
  const receiver = new GatewayReceiver(marks, clock)
  receiver.onGap = (gap) => {
    const { lane, firstSeq, lastSeq } = gap
    if (gap.isUnexplained) log.error({ lane, firstSeq, seq: lastSeq }, 'messages of the remote broker are missing')
  }
  return new Bridge({ settings, epoch, log, clock, local, receiver, marks, alarms, devices, makeUplink })
}

/** @example snakeCased('inflightMax') // 'inflight_max' */
function snakeCased(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

/** What is not kept anyway needs no memory beyond the process. */
function memoryOf({ name }: BridgeSettings, settings: Settings, log: Log): FilterMemory {
  if (safestDurability(settings) !== 'ram')
    return createFilterFile(join(settings.dataDir, 'bridges', `${name}.json`), log)
  return { load: () => new Map(), save: () => undefined }
}
