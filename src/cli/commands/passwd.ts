/** `tidegate passwd`: users who come in with a password, kept so that the file gives no password away. */
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import type { Command } from 'commander'
import { complain, print } from '../output.ts'

interface PasswdOptions {
  readonly file: string
  readonly iterations: string
  readonly delete?: true
}

const saltBytes = 16

/** RFC 7677 asks for no less; what is more costs devices time at each connect. */
const iterationsMin = 4096

const help = `
Example:
  tidegate passwd --file users.scram pump-7

Asks for the password, or reads it as one line from standard input. Name the file in the settings:
  [authentication]
  scram_users = "users.scram"`

export function addPasswd(program: Command): void {
  program
    .command('passwd')
    .description('add a user with a password (SCRAM-SHA-256), or change or delete one')
    .argument('<name>', 'name of the user')
    .option('--file <path>', 'file of users', 'users.scram')
    .option('--iterations <count>', 'how often the password is hashed', '10000')
    .option('--delete', 'take the user out')
    .addHelpText('after', help)
    .action(passwd)
}

async function passwd(name: string, options: PasswdOptions): Promise<void> {
  const { makeCredentials } = await import('../../adapters/auth-scram/credentials.ts')
  const { prepared } = await import('../../adapters/auth-scram/saslprep.ts')
  const { changeUser, isUserName } = await import('../../adapters/auth-scram/users-file.ts')
  const user = prepared(name)
  const iterations = Number(options.iterations)
  if (user === undefined || !isUserName(user)) {
    return misused(`a user name has 1 to 256 visible characters and no colon: ${JSON.stringify(name)}`)
  }
  if (!Number.isInteger(iterations) || iterations < iterationsMin || iterations > 10_000_000) {
    return misused(`--iterations takes a whole number 4096..10000000, got ${options.iterations}`)
  }
  if (options.delete === true) {
    if (!changeUser(options.file, user, undefined)) return misused(`${options.file} has no user ${user}`)
    print(`deleted  ${user}`)
    return
  }
  const password = await askPassword(user)
  if (password === '') return misused('the password is empty')
  if (prepared(password) === undefined) {
    return misused('the password has invisible characters, or mixes scripts of both directions: SCRAM takes none such')
  }
  const wasThere = changeUser(options.file, user, makeCredentials(password, randomBytes(saltBytes), iterations))
  print(`${wasThere ? 'changed ' : 'added   '} ${user}`)
}

function misused(line: string): void {
  complain(line)
  process.exitCode = 2
}

/** The first line of standard input; on a terminal it is asked for and not shown. */
async function askPassword(user: string): Promise<string> {
  const terminal = process.stdin.isTTY === true
  if (terminal) process.stderr.write(`Password for ${user}: `)
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal })
  const password = await new Promise<string>((resolve) => {
    lines.once('line', resolve).once('close', () => resolve(''))
  })
  lines.close()
  if (terminal) process.stderr.write('\n')
  return password
}
