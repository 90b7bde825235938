/** `tidegate sub`: prints what arrives until it is stopped, and connects again when the connection is lost. */
import type { Command } from 'commander'
import type { MqttClient } from 'mqtt'
import type { Qos } from '../../protocol/packet.ts'
import { addClientOptions, type ClientOptions, qos, wholeNumber, withClient } from '../client.ts'
import { complain } from '../output.ts'

interface SubOptions extends ClientOptions {
  readonly topic: string[]
  readonly qos: Qos
  readonly verbose?: true
  readonly count?: number
  readonly wait?: number
}

const help = `
Example:
  tidegate sub -v -t 'sensors/+/temperature'
  tidegate sub -p 1884 -t '#' -C 10`

const reconnectMs = 1000

/** As with mosquitto_sub: the time given with -W is over. */
const timeoutExitCode = 27

export function addSub(program: Command): void {
  const command = program.command('sub').description('print messages as they arrive')
  addClientOptions(command)
    .requiredOption('-t, --topic <filter...>', 'topic filter, can be given several times')
    .option('-q, --qos <qos>', 'highest quality of service: 0, 1 or 2', qos, 0)
    .option('-v, --verbose', 'print the topic before each payload')
    .option('-C, --count <count>', 'end after so many messages', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option(
      '-W, --wait <seconds>',
      `end after so many seconds, with exit code ${timeoutExitCode}`,
      wholeNumber(1, 86_400),
    )
    .addHelpText('after', help)
    .action(subscribe)
}

async function subscribe(options: SubOptions): Promise<void> {
  if (options.wait !== undefined) setTimeout(() => process.exit(timeoutExitCode), options.wait * 1000).unref()
  await withClient(options, reconnectMs, async (client, refuse) => {
    client.on('error', (error) => complain(error.message))
    client.on('offline', () => complain('connection lost, connecting again'))
    const ended = printMessages(client, options)
    await client.subscribeAsync(options.topic, { qos: options.qos }).catch((error: Error) => refuse(error.message))
    await ended
  })
}

/** Resolves after the last message that was asked for, or when nobody reads the output any more. */
function printMessages(client: MqttClient, { verbose, count = Number.POSITIVE_INFINITY }: SubOptions): Promise<void> {
  let printed = 0
  return new Promise((resolve) => {
    process.stdout.once('error', () => resolve())
    client.on('message', (topic, payload) => {
      if (printed === count) return
      printed++
      const head = verbose ? `${topic} ` : ''
      process.stdout.write(Buffer.concat([Buffer.from(head), payload, Buffer.from('\n')]))
      if (printed === count) resolve()
    })
  })
}
