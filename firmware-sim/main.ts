/**
 * The commands of the simulator: `run` and `config` for scenarios, else one simulated sensor on a tty. Prints what it does once a second and ends 0 when every reading was
 * acknowledged, 1 when it was interrupted before, 2 when it was called wrongly.
 */
import { parseArgs } from 'node:util'
import { runCommand } from './command/run-command.ts'
import { SeededRandom } from './seeded-random.ts'
import { WiredDevice } from './wired-device.ts'

const usage = `Usage: npm run sim -- run SCENARIO [options]       scenarios: see run --help
       npm run sim -- --path PATH [options]        one device

A simulated sensor on a serial port: publishes numbered readings with QoS 1 through the serial link.

  --path PATH         tty of the device end, for example one end of
                      socat pty,raw,echo=0,link=/tmp/host pty,raw,echo=0,link=/tmp/device
  --id ID             MQTT client identifier (default: s1)
  --rate N            readings per second; 0 = as fast as the line takes them (default: 10)
  --count N           readings until the end; 0 = no end (default: 0)
  --baud N            baud rate, also the pace of the bytes (default: 115200)
  --bit-errors P      probability that a bit is inverted, in both directions (default: 0)
  --seed N            decides boot ids and bit errors (default: 1)
  --help              this text

SIGUSR1 resets the sensor as a brown-out does.
`

const options = {
  path: { type: 'string' },
  id: { type: 'string', default: 's1' },
  rate: { type: 'string', default: '10' },
  count: { type: 'string', default: '0' },
  baud: { type: 'string', default: '115200' },
  'bit-errors': { type: 'string', default: '0' },
  seed: { type: 'string', default: '1' },
  help: { type: 'boolean', default: false },
} as const

type Arguments = ReturnType<typeof parseArgs<{ options: typeof options }>>['values']

const [verb, ...rest] = process.argv.slice(2)
if (verb === 'run' || verb === 'config') process.exitCode = await runCommand(verb, rest)
else oneDevice()

function oneDevice(): void {
  const given = readArguments()
  if (given.help) {
    process.stdout.write(usage)
    return
  }
  if (given.path === undefined) refuse('--path is missing')
  run(given.path, given)
}

function readArguments(): Arguments {
  try {
    return parseArgs({ options }).values
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error))
  }
}

function run(path: string, given: Arguments): void {
  const seed = numberOf(given, 'seed')
  const bitErrorRate = numberOf(given, 'bit-errors')
  const wired = new WiredDevice(
    {
      id: given.id,
      baudRate: numberOf(given, 'baud') || refuse('--baud must be above 0'),
      ratePerSecond: numberOf(given, 'rate') || Number.POSITIVE_INFINITY,
      readingCount: numberOf(given, 'count') || Number.POSITIVE_INFINITY,
    },
    { path, seed, faults: bitErrorRate > 0 ? { random: new SeededRandom(seed), bitErrorRate } : undefined },
  )
  const { device } = wired
  wired.start()
  const show = setInterval(() => {
    process.stdout.write(`${process.stdout.isTTY ? '\r\x1b[K' : ''}${lineOf(wired)}${process.stdout.isTTY ? '' : '\n'}`)
    if (device.isDone) finish()
  }, 1000)
  process.on('SIGINT', finish)
  process.on('SIGTERM', finish)
  process.on('SIGUSR1', () => device.reset())

  function finish(): void {
    clearInterval(show)
    process.stdout.write(`\n${lineOf(wired)}\n`)
    wired.close()
    process.exitCode = device.isDone ? 0 : 1
  }
}

function lineOf({ device, tty }: WiredDevice): string {
  const state = !tty.isOpen ? 'no port' : device.isConnected ? 'connected' : device.link.isUp ? 'link up' : 'no answer'
  return [
    `${state}:`,
    `${device.producedCount} produced,`,
    `${device.acknowledged.size} acknowledged,`,
    `${device.waitingCount} waiting,`,
    `${device.resent.size} sent again,`,
    `${device.link.damagedFrameCount} damaged frames,`,
    `${device.resetCount} resets`,
  ].join(' ')
}

function numberOf(given: Arguments, name: 'rate' | 'count' | 'baud' | 'bit-errors' | 'seed'): number {
  const value = Number(given[name])
  return Number.isFinite(value) && value >= 0 ? value : refuse(`--${name} must be a number, not '${given[name]}'`)
}

function refuse(reason: string): never {
  process.stderr.write(`${reason}\n\n${usage}`)
  process.exit(2)
}
