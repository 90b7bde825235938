/** One device on one line in virtual time: what the line carries, clean and noisy, message by message. */
import type { DeviceOptions } from '../../../firmware-sim/device.ts'
import type { FaultRates } from '../../../firmware-sim/fleet/cable.ts'
import type { Verdict } from '../../../firmware-sim/oracle/account.ts'
import { VirtualClock } from '../../fakes/virtual-clock.ts'
import { MemoryGateway } from './memory-gateway.ts'

export const baudRate = 115_200
export const payloadBytes = 64
const bytesPerSecond = baudRate / 10
const tickMs = 100
const virtualMsMax = 24 * 3_600_000

/** A board with room for long frames and many readings under way, and MQTT 5 with an alias for its topic. */
export const roomyBoard = { mqttVersion: 5, inFlightMax: 64, frameBytes: 1152 } as const

export interface LineFigures {
  readonly verdict: Verdict
  readonly virtualSeconds: number
  /** Share of the baud rate that payload bytes have, and that MQTT PUBLISH packets have. */
  readonly payloadShare: number
  readonly packetShare: number
  readonly framesSentAgain: number
  readonly p99Ms: number
}

/** Bytes of a PUBLISH with an alias in place of its topic: header, empty topic, packet id, property, payload. */
const aliasedBytes = 2 + 2 + 2 + 1 + 3 + payloadBytes

/** Readings as fast as the line takes them, or at a rate, until `count` have arrived. */
export async function measureLine(
  count: number,
  faults: FaultRates | undefined,
  board: Partial<DeviceOptions> = roomyBoard,
  ratePerSecond = Number.POSITIVE_INFINITY,
): Promise<LineFigures> {
  const clock = new VirtualClock(1000)
  const gateway = await MemoryGateway.start(clock)
  const options = { id: 's1', baudRate, payloadBytes, ratePerSecond, readingCount: count, ...board }
  const { cable, account } = gateway.add(options, 1)
  clock.advanceMs(100)
  cable.device.start()
  clock.advanceUntil(() => cable.device.isConnected, 10_000)
  cable.fault(faults)
  const startedAtMs = clock.nowMs()
  while (!cable.device.isDone && clock.nowMs() < virtualMsMax) {
    clock.advanceMs(tickMs)
    gateway.tick()
  }
  const virtualSeconds = (clock.nowMs() - startedAtMs) / 1000
  clock.advanceMs(1000)
  account.producedCount = cable.device.producedCount
  const share = (messageBytes: number) => (account.arrivedCount * messageBytes) / (bytesPerSecond * virtualSeconds)
  const figures = {
    verdict: account.verdict(),
    virtualSeconds,
    payloadShare: share(payloadBytes),
    packetShare: share(aliasedBytes),
    framesSentAgain: cable.device.frameFaults.resentCount,
    p99Ms: gateway.subscriber.delays.percentileMs(0.99),
  }
  await stopped(gateway, clock)
  return figures
}

async function stopped(gateway: MemoryGateway, clock: VirtualClock): Promise<void> {
  const stop = gateway.stop()
  clock.advanceMs(1000)
  await stop
}
