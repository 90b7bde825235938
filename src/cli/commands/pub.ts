/** `tidegate pub`: sends one message and ends when the broker has it. */
import type { Command } from 'commander'
import { Failure } from '../../lib/errors.ts'
import type { Qos } from '../../protocol/packet.ts'
import { addClientOptions, brokerUrl, type ClientOptions, connectClient, qos } from '../client.ts'

interface PubOptions extends ClientOptions {
  readonly topic: string
  readonly message?: string
  readonly stdin?: true
  readonly qos: Qos
  readonly retain?: true
}

const help = `
Example:
  tidegate pub -t sensors/1/temperature -m 21.5 -q 1
  tidegate pub -h cloud.example --ca ca.pem --cert me.pem --key me.key -t hello -m world`

export function addPub(program: Command): void {
  const command = program.command('pub').description('publish a message')
  addClientOptions(command)
    .requiredOption('-t, --topic <topic>', 'topic to publish to')
    .option('-m, --message <text>', 'the payload (default: empty)')
    .option('-s, --stdin', 'the payload is what comes on standard input')
    .option('-q, --qos <qos>', 'quality of service: 0, 1 or 2', qos, 0)
    .option('-r, --retain', 'keep the message for later subscribers')
    .addHelpText('after', help)
    .action(publish)
}

async function publish(options: PubOptions): Promise<void> {
  const payload = options.stdin ? await readInput() : (options.message ?? '')
  const client = await connectClient(options, 0)
  const closed = new Promise<never>((_, reject) => {
    client.once('close', () => reject(refusal(options, 'closed the connection before it acknowledged the message')))
    client.once('error', (error) => reject(refusal(options, error.message)))
  })
  const sent = client.publishAsync(options.topic, payload, { qos: options.qos, retain: options.retain ?? false })
  await Promise.race([sent.catch((error: Error) => Promise.reject(refusal(options, error.message))), closed])
  closed.catch(() => undefined)
  await client.endAsync()
}

function refusal(options: PubOptions, reason: string): Failure {
  return new Failure('ERR_DIAL', `${brokerUrl(options)}: ${reason}`)
}

async function readInput(): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
