/** `tidegate serial`: which serial ports there are, and what is said on one of them. */
import { statSync } from 'node:fs'
import { type Command, Option } from 'commander'
import type { TracedProtocol } from '../../gateway/line-trace.ts'
import type { SerialDriver } from '../../ports/serial.ts'
import { wholeNumber } from '../client.ts'
import { complainOf, print } from '../output.ts'

const listHelp = `
Example:
  tidegate serial list
  tidegate serial list --json`

const inspectHelp = `
With a path, or tcp:// or rfc2217:// of a port at another machine, it opens the port, which nobody else may use
meanwhile, and sends nothing. With the name of a port it asks the broker that has it, and shows both directions,
payloads and passwords included. Ends with ctrl-C. A file that was captured is shown again.

Example:
  tidegate serial inspect /dev/ttyUSB0
  tidegate serial inspect /dev/ttyACM0 --protocol lines --baud 9600
  tidegate serial inspect greenhouse
  tidegate serial inspect tcp://192.168.1.20:2217
  tidegate serial inspect noisy.capture`

const summaryEveryMs = 10_000

export function addSerial(program: Command): void {
  const serial = program.command('serial').description('look at serial ports')
  serial
    .command('list')
    .description('list the serial ports of this machine')
    .option('--json', 'print a JSON array')
    .addHelpText('after', listHelp)
    .action(list)
  serial
    .command('inspect')
    .description('show what a device says, frame by frame or line by line, and what is damaged')
    .argument('<port>', 'the device file, tcp://host:port, the name of a port of the broker, or a captured file')
    .option('-b, --baud <rate>', 'baud rate, with a device file or rfc2217://', wholeNumber(50, 4_000_000), 115_200)
    .addOption(
      new Option('-P, --protocol <protocol>', 'what to look for, but with the name of a port')
        .choices(['link', 'lines', 'raw'])
        .default('link'),
    )
    .option('--data-dir <directory>', 'data_dir of the broker (default: TIDEGATE_DATA_DIR, or where it usually is)')
    .addHelpText('after', inspectHelp)
    .action(inspect)
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

interface InspectOptions {
  readonly baud: number
  readonly protocol: TracedProtocol
  readonly dataDir?: string
}

/** Resolves when the port closes or the person has seen enough. */
async function inspect(port: string, options: InspectOptions): Promise<void> {
  if (isRegularFile(port)) {
    const { showCapture } = await import('../show-capture.ts')
    return showCapture(port, options.protocol)
  }
  if (port.includes('/')) return inspectPath(port, options)
  const { watchPort } = await import('../watch-port.ts')
  return watchPort(port, options.dataDir)
}

async function inspectPath(path: string, { baud: baudRate, protocol }: InspectOptions): Promise<void> {
  const driver = await driverOf(path)
  const { LineTrace } = await import('../../gateway/line-trace.ts')
  const startedAt = performance.now()
  const trace = new LineTrace(protocol, (line) => print(`${seconds(startedAt)} ${line}`))
  await new Promise<void>((resolve) => {
    let summary = ''
    const summarize = (): void => {
      if (trace.summary !== summary) print(`${seconds(startedAt)} --- ${trace.summary}`)
      summary = trace.summary
    }
    const timer = setInterval(summarize, summaryEveryMs)
    const stop = (): void => line.close()
    const line = driver.open(
      { path, baudRate, resetOnOpen: false },
      {
        onOpen: () =>
          print(
            `${seconds(startedAt)} --- listening on ${path}${path.startsWith('tcp:') ? '' : ` at ${baudRate} baud`}`,
          ),
        receive: (chunk) => trace.push(chunk),
        onClosed: (failure) => {
          clearInterval(timer)
          for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, stop)
          summarize()
          if (failure !== undefined) {
            complainOf(failure)
            process.exitCode = 1
          }
          resolve()
        },
      },
    )
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop)
    process.stdout.once('error', stop)
  })
}

async function driverOf(path: string): Promise<SerialDriver> {
  const { isRemotePath, TcpSerialDriver } = await import('../../adapters/serial-tcp/driver.ts')
  if (isRemotePath(path)) return new TcpSerialDriver()
  const { SerialPortDriver } = await import('../../adapters/serial-port/driver.ts')
  return new SerialPortDriver()
}

function isRegularFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}

/** `   1.234`, since the start. */
function seconds(startedAt: number): string {
  return ((performance.now() - startedAt) / 1000).toFixed(3).padStart(8)
}
