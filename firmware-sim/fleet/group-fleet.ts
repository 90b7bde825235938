/** The devices of one group of a scenario, and their accounts. */
import { readFileSync } from 'node:fs'
import { RandomWalk, Replay, readRecording, type Signal, Sine, Step } from '../board/signal.ts'
import type { DeviceOptions } from '../device.ts'
import { Account } from '../oracle/account.ts'
import type { Group } from '../scenario/schema.ts'
import { SeededRandom } from '../seeded-random.ts'
import type { Station } from './station.ts'

/** A damaged byte can be the line end that two lines need. */
const readingsPerDamagedByte = 2

export interface Member {
  readonly id: string
  readonly station: Station
  readonly account: Account
}

export type MakeStation = (options: DeviceOptions, seed: number, group: Group) => Station

export class GroupFleet {
  readonly group: Group
  readonly members: readonly Member[]

  constructor(group: Group, seed: number, make: MakeStation) {
    this.group = group
    this.members = Array.from({ length: group.count }, (_, index) => {
      const id = group.count === 1 ? group.name : `${group.name}-${index + 1}`
      const deviceSeed = (Math.imul(seed, 0x9e3779b9) + index * 7919 + hashOf(group.name)) >>> 0
      const options = optionsOf(group, id, deviceSeed)
      const station = make(options, deviceSeed, group)
      const account = new Account(id)
      account.acknowledged = station.device.acknowledged
      account.resent = station.device.resent
      return { id, station, account }
    })
  }

  /** Copies what the devices count into their accounts. */
  update(): void {
    for (const { account, station } of this.members) {
      const { excusedCount, producedCount } = station.device
      account.producedCount = producedCount
      const { cable } = station
      const isAcknowledged = station.device.head.isAcknowledged
      const damagedByteCount = cable === undefined || isAcknowledged ? 0 : cable.transmit.damagedByteCount
      account.excusedCount = excusedCount + damagedByteCount * readingsPerDamagedByte
    }
  }

  get deviceFaults() {
    const total = { resets: 0, overrunBytes: 0, damagedFrames: 0, resentFrames: 0 }
    for (const { device } of this.members.map(({ station }) => station)) {
      total.resets += device.resetCount
      total.overrunBytes += device.loop.overrunByteCount
      total.damagedFrames += device.frameFaults.damagedCount
      total.resentFrames += device.frameFaults.resentCount
    }
    return total
  }
}

function optionsOf(group: Group, id: string, seed: number): DeviceOptions {
  const { sleep } = group
  return {
    id,
    head: group.head,
    baudRate: group.baud_rate,
    ratePerSecond: group.rate_per_second === 'max' ? Number.POSITIVE_INFINITY : group.rate_per_second,
    readingCount: Number.POSITIVE_INFINITY,
    payloadBytes: group.payload_bytes,
    mqttVersion: group.mqtt_version,
    inFlightMax: group.in_flight_max,
    frameBytes: group.frame_bytes,
    receiveRingBytes: group.receive_ring_bytes,
    claimedBytes: group.claimed_bytes,
    loopMs: group.loop_ms,
    watchdogMs: group.watchdog_ms,
    driftPpm: group.drift_ppm,
    bootBaudRate: group.boot_baud_rate,
    firmware: group.firmware,
    takesCommands: group.takes_commands,
    sleep: sleep && { awakeMs: sleep.awake_ms, asleepMs: sleep.asleep_ms },
    signal: group.signal && signalOf(group.signal, new SeededRandom(seed + 1)),
  }
}

function signalOf(signal: NonNullable<Group['signal']>, random: SeededRandom): Signal {
  switch (signal.kind) {
    case 'sine':
      return new Sine({ mean: signal.mean, amplitude: signal.amplitude, periodMs: signal.period_ms })
    case 'walk':
      return new RandomWalk({ lowest: signal.lowest, highest: signal.highest, stepMax: signal.step_max }, random)
    case 'step':
      return new Step(signal.levels, signal.every_ms)
    case 'replay':
      return new Replay(readRecording(readFileSync(signal.file, 'utf8')))
  }
}

function hashOf(text: string): number {
  let hash = 0
  for (const letter of text) hash = (Math.imul(hash, 31) + (letter.codePointAt(0) ?? 0)) | 0
  return hash
}
