/** The driver of a serial port, by its path: a device file, or a port at another machine. */
import { SerialPortDriver } from '../adapters/serial-port/driver.ts'
import { isRemotePath, TcpSerialDriver } from '../adapters/serial-tcp/driver.ts'
import type { SerialDriver } from '../ports/serial.ts'

export function serialDriver(): SerialDriver {
  const local = new SerialPortDriver()
  const remote = new TcpSerialDriver()
  return { open: (settings, owner) => (isRemotePath(settings.path) ? remote : local).open(settings, owner) }
}
