/** Puts the devices of a scenario in their places. */
import { join } from 'node:path'
import type { DeviceOptions } from '../device.ts'
import type { Group } from '../scenario/schema.ts'
import type { MakeStation } from './group-fleet.ts'
import { NetworkStation, PtyStation, type Station, TcpStation } from './station.ts'

/** Where a gateway that is not ours looks for devices behind TCP. */
const firstTcpPortDefault = 21_000

/** @param folder where ptys appear; @param url of the broker that devices without a gateway talk to */
export function stationMaker(folder: string, url: string, firstTcpPort = firstTcpPortDefault): MakeStation {
  const { hostname: host, port } = new URL(url)
  let tcpPort = firstTcpPort
  return (given: DeviceOptions, seed: number, group: Group): Station => {
    switch (group.transport) {
      case 'pty':
        return new PtyStation(given, seed, join(folder, given.id))
      case 'tcp':
        return new TcpStation(given, seed, tcpPort++)
      case 'none':
        return new NetworkStation({ ...given, broker: { host, port: Number(port || 1883) } }, seed)
    }
  }
}
