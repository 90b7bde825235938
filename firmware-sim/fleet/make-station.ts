/** Puts the devices of a scenario in their places. */
import { join } from 'node:path'
import { type DeviceClock, SystemClock } from '../clock.ts'
import type { DeviceOptions } from '../device.ts'
import type { Group } from '../scenario/schema.ts'
import { Bus } from './bus.ts'
import type { MakeStation } from './group-fleet.ts'
import { type LinePort, type OnLineBytes, PtyPort, TcpPort } from './line-port.ts'
import { BusStation, NetworkStation, WiredStation } from './station.ts'

/** Where a gateway that is not ours looks for devices behind TCP. */
const firstTcpPortDefault = 21_000

/** @param name of the line: of its device, or of the group that shares it */
export type MakePort = (name: string, group: Group, onBytes: OnLineBytes) => LinePort

/** @param folder where ptys appear; @param url of the broker that devices without a gateway talk to */
export function stationMaker(folder: string, url: string, firstTcpPort = firstTcpPortDefault): MakeStation {
  const { hostname: host, port } = new URL(url)
  const clock = new SystemClock()
  let tcpPort = firstTcpPort
  const wired = wiredStationMaker(clock, (name, group, onBytes) =>
    group.transport === 'tcp'
      ? new TcpPort(tcpPort++, onBytes)
      : new PtyPort(join(folder, name), group.baud_rate, onBytes),
  )
  return (given, seed, group) => {
    if (group.transport !== 'none') return wired(given, seed, group)
    return new NetworkStation({ ...given, broker: { host, port: Number(port || 1883) } }, seed, clock)
  }
}

/** Stations on lines, alone or with the others of their group. */
export function wiredStationMaker(clock: DeviceClock, makePort: MakePort): MakeStation {
  const buses = new Map<string, Bus>()
  return (given: DeviceOptions, seed: number, group: Group) => {
    if (!group.bus) return new WiredStation(given, seed, clock, (onBytes) => makePort(given.id, group, onBytes))
    const bus = buses.get(group.name) ?? new Bus(clock, (onBytes) => makePort(group.name, group, onBytes))
    buses.set(group.name, bus)
    return new BusStation(given, seed, bus)
  }
}
