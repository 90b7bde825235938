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

/** What a bridge is made with: where one of these changes, a new bridge goes on with what waits for the old one. */
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
  /** Made for the first bridge that tells of them. */
  #devices: DeviceList | undefined

  private constructor(settings: Settings, parts: BridgeParts) {
    this.#settings = settings
    this.#parts = parts
  }

  /** Made, not started. Rejects with the Failure ERR_CERTIFICATE. */
  static async make(settings: Settings, parts: BridgeParts): Promise<BridgeSet> {
    const set = new BridgeSet(settings, parts)
    for (const held of settings.bridges) set.#members.push((await set.#preparedMember(held))())
    reportForgotten(parts)
    return set
  }

  get all(): readonly Bridge[] {
    return this.#members.map(({ bridge }) => bridge)
  }

  /**
   * Takes over what `[[bridge]]` says now, and the content of certificate files. Rejects with the Failure
   * ERR_CERTIFICATE; everything is as before then.
   */
  async reload(wanted: readonly BridgeSettings[]): Promise<void> {
    const changes: (() => void)[] = []
    for (const next of wanted) changes.push(await this.#preparedChange(next))
    const gone = this.#members.filter(({ held }) => !wanted.some(({ name }) => name === held.name))
    // Before others start: one of them may have the client id of one that goes.
    for (const member of gone) this.#close(member)
    for (const change of changes) change()
    if (gone.length > 0) reportForgotten(this.#parts)
  }

  /** Everything that may fail is done before the answered function is called. */
  async #preparedChange(next: BridgeSettings): Promise<() => void> {
    const member = this.#members.find(({ held }) => held.name === next.name)
    if (member !== undefined && fixedKeys.every((key) => isDeepStrictEqual(member.held[key], next[key]))) {
      return this.#preparedUpdate(member, next)
    }
    const makeMember = await this.#preparedMember(next)
    return () => {
      if (member !== undefined) this.#close(member)
      const made = makeMember()
      this.#members.push(made)
      made.log.info({}, member === undefined ? 'bridge added' : 'bridge made anew with changed settings')
      made.bridge.start()
    }
  }

  async #preparedUpdate(member: Member, next: BridgeSettings): Promise<() => void> {
    const { bridge, held, log } = member
    const changed = (Object.keys(next) as (keyof BridgeSettings)[]).filter((key) => {
      return !isDeepStrictEqual(held[key], next[key])
    })
    const isRule = (key: string) => (ruleKeys as readonly string[]).includes(key)
    const ofUplink = changed.filter((key) => key !== 'rateMax' && !isRule(key))
    const makeUplink = ofUplink.length > 0 ? await this.#uplinkMaker(next, log) : undefined
    const dialers = makeUplink === undefined ? await this.#dialers(next) : undefined
    return () => {
      member.held = next
      if (makeUplink !== undefined) {
        log.info({ settings: ofUplink.map(snakeCased) }, 'bridge connects anew with changed settings')
        bridge.reconnect(makeUplink)
      } else if (dialers !== undefined) bridge.dialWith(dialers)
      if (changed.some(isRule)) bridge.map(next)
      if (held.rateMax !== next.rateMax) bridge.limitRate(next.rateMax)
    }
  }

  async #preparedMember(held: BridgeSettings): Promise<() => Member> {
    const log = this.#parts.log.child({ part: `bridge ${held.name}` })
    const makeUplink = await this.#uplinkMaker(held, log)
    return () => {
      const devices = held.notifications ? this.#devicesToTell() : undefined
      return { bridge: makeBridge(held, { ...this.#parts, log }, devices, makeUplink), log, held }
    }
  }

  #close(member: Member): void {
    member.bridge.close()
    this.#members.splice(this.#members.indexOf(member), 1)
    member.log.info({}, 'bridge closed')
  }

  #devicesToTell(): DeviceList | undefined {
    const { local, clock } = this.#parts
    const { sys, name } = this.#settings
    if (sys.enabled) this.#devices ??= new DeviceList({ local, clock, nodeName: name })
    return this.#devices
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
