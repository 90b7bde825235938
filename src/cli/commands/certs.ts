/** `tidegate certs`: a development CA, and certificates for a server and its clients. */
import type { Command } from 'commander'
import { print } from '../output.ts'

interface CertsOptions {
  readonly dir: string
  readonly host: string[]
  readonly client: string[]
  readonly force?: true
}

const help = `
Example:
  tidegate certs --dir certs --host cloud.example --host 192.0.2.7 --client gateway-1

Writes ca.crt, server.crt and NAME.crt with a .key beside each. What is there is kept, the CA always.`

export function addCerts(program: Command): void {
  program
    .command('certs')
    .description('make a development CA, and certificates for a server and its clients')
    .option('--dir <directory>', 'where the files are kept', 'certs')
    .option('--host <name...>', 'name or IP address of the server, can be given several times', [])
    .option('--client <name...>', 'identity of a client or gateway, can be given several times', [])
    .option('--force', 'replace server and client certificates that are there')
    .addHelpText('after', help)
    .action(certs)
}

async function certs({ dir, host, client, force }: CertsOptions): Promise<void> {
  const { makeCertificates } = await import('../../adapters/certificates/certificate-directory.ts')
  const { written, kept } = await makeCertificates({
    directory: dir,
    hosts: host,
    clients: client,
    force: force === true,
  })
  for (const path of kept) print(`kept     ${path}`)
  for (const path of written) print(`written  ${path}`)
}
