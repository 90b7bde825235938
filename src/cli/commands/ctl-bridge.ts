/** `tidegate ctl bridge`: the bridges of a broker, a line for each. */
import type { BridgeStatus } from '../../ports/bridge-status.ts'
import { print } from '../output.ts'
import { table } from '../table.ts'

export function printBridges(bridges: readonly BridgeStatus[]): void {
  if (bridges.length === 0) {
    print('there is no bridge')
    return
  }
  const rows = bridges.map((bridge) => [
    bridge.name,
    bridge.health,
    String(bridge.backlogCount),
    size(bridge.backlogBytes),
    duration(bridge.oldestMs),
    bridge.timeToEmptyMs === null ? 'not known' : duration(bridge.timeToEmptyMs),
    String(bridge.forwardedCount),
    String(bridge.receivedCount),
    String(bridge.rejectedCount),
    size(bridge.bytesPerDay),
  ])
  table(['BRIDGE', 'HEALTH', 'WAITING', 'SIZE', 'OLDEST', 'EMPTY IN', 'UP', 'DOWN', 'REJECTED', 'WIRE/DAY'], rows)
}

/** @example size(1_540_000) // '1.5 MB' */
function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(1)} kB`
  return `${(bytes / 1_000_000).toFixed(1)} MB`
}

/** @example duration(3_700_000) // '1 h 1 min' */
function duration(ms: number): string {
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
}
