/** `tidegate pub`: sends one message and ends when the broker has it. */
import type { Command } from 'commander'
import type { Qos } from '../../protocol/packet.ts'
import { addClientOptions, type ClientOptions, closed, qos, withClient } from '../client.ts'

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
  const { topic, qos, retain = false, message = '', stdin } = options
  const payload = stdin ? await readInput() : message
  await withClient(options, 0, async (client, refuse) => {
    const sent = client.publishAsync(topic, payload, { qos, retain }).then(
      () => undefined,
      (error: Error) => error.message,
    )
    const trouble = await Promise.race([sent, closed(client)])
    if (trouble !== undefined) refuse(trouble)
  })
}

async function readInput(): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
