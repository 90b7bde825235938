/** `tidegate serial list`: which serial ports there are, by the name that stays theirs. */
import type { Command } from 'commander'
import { print } from '../output.ts'

const help = `
Example:
  tidegate serial list
  tidegate serial list --json`

export function addSerial(program: Command): void {
  program
    .command('serial')
    .description('look at serial ports')
    .command('list')
    .description('list the serial ports of this machine')
    .option('--json', 'print a JSON array')
    .addHelpText('after', help)
    .action(list)
}

async function list({ json }: { json?: true }): Promise<void> {
  const { listSerialPorts } = await import('../../adapters/serial-port/list.ts')
  const ports = await listSerialPorts()
  if (json) {
    print(JSON.stringify(ports, null, 2))
    return
  }
  if (ports.length === 0) print('no serial ports found')
  for (const { path, byIdPath, manufacturer, serialNumber } of ports) {
    const details = [manufacturer, serialNumber, byIdPath].filter((detail) => detail !== undefined)
    print([path, ...details].join('  '))
  }
}
