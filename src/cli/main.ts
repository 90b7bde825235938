/**
 * The `tidegate` command. Each command loads what it needs when it is called, so that none pays for another.
 * Exit codes: 0 done, 1 the world said no, 2 wrong use or settings.
 */
import { Command, CommanderError } from 'commander'
import { packageVersion } from '../adapters/system/version.ts'
import { Failure } from '../lib/errors.ts'
import { addCerts } from './commands/certs.ts'
import { addCloud } from './commands/cloud.ts'
import { addControl } from './commands/ctl.ts'
import { addDoctor } from './commands/doctor.ts'
import { addEdge } from './commands/edge.ts'
import { addPasswd } from './commands/passwd.ts'
import { addPub } from './commands/pub.ts'
import { addSerial } from './commands/serial.ts'
import { addSub } from './commands/sub.ts'
import { complainOf } from './output.ts'

const program = new Command('tidegate')
  .description('One MQTT broker from the serial port to the cloud.')
  .version(packageVersion(), '--version', 'print the version')
  .helpOption('--help', 'show this help')
  .helpCommand(false)
  .exitOverride()
  .addHelpText('after', '\nExample:\n  tidegate edge --config configs/edge.toml\n  tidegate sub -v -t "#"')

addEdge(program)
addCloud(program)
addPub(program)
addSub(program)
addCerts(program)
addPasswd(program)
addSerial(program)
addControl(program)
addDoctor(program)

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2
  } else if (error instanceof Failure) {
    complainOf(error)
    process.exitCode = 1
  } else {
    throw error
  }
}
