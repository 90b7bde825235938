/** What the commands say to people: answers on stdout, everything else on stderr, one line each. */
import type { Failure } from '../lib/errors.ts'

export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

export function complain(line: string): void {
  process.stderr.write(`tidegate: ${line}\n`)
}

export function complainOf(failure: Failure): void {
  // What is wrong with a setting is a whole line already.
  complain(failure.code === 'ERR_CONFIG_VALUE' ? failure.detail : failure.line)
}
