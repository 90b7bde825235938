/** `tidegate ctl serial`: the serial ports of a gateway, a line for each. */
import type { PortStatus } from '../../gateway/serial-listener.ts'
import { print } from '../output.ts'
import { table } from '../table.ts'

export function printPorts(ports: readonly PortStatus[]): void {
  if (ports.length === 0) {
    print('there is no serial port')
    return
  }
  const rows = ports.map((port) => [
    port.name,
    port.protocol,
    port.availability ?? '',
    port.deviceId ?? '',
    String(port.unitCount),
    String(port.crcErrorCount + port.cobsErrorCount + port.oversizeCount),
    String(port.retransmitCount),
    port.roundTripP50Ms === undefined ? '' : `${port.roundTripP50Ms} / ${port.roundTripP99Ms} ms`,
    `${port.loadPercent} %`,
    port.path,
  ])
  table(['PORT', 'PROTOCOL', 'STATE', 'DEVICE', 'UNITS', 'DAMAGED', 'AGAIN', 'RTT P50/P99', 'LOAD', 'PATH'], rows)
}
