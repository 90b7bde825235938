/** The file of users: a line each, `name:credentials`; empty lines and lines that begin with # say nothing. */
import { readFileSync, writeFileSync } from 'node:fs'
import { Failure } from '../../lib/errors.ts'
import { type Credentials, formatCredentials, parseCredentials } from './credentials.ts'

/** Fit for the file: no colon, no blank at either end, nothing invisible. */
const namePattern = /^(?! )[^:\p{Cc}]{1,256}(?<! )$/u

export function isUserName(name: string): boolean {
  return namePattern.test(name)
}

/** @throws Failure ERR_USERS_FILE */
export function readUsers(path: string): Map<string, Credentials> {
  const users = new Map<string, Credentials>()
  for (const [index, line] of linesOf(path).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const colon = line.indexOf(':')
    const credentials = parseCredentials(line.slice(colon + 1).trim())
    if (colon < 1 || credentials === undefined) {
      throw new Failure('ERR_USERS_FILE', `${path} line ${index + 1} is not name:SCRAM-SHA-256$...`)
    }
    users.set(line.slice(0, colon), credentials)
  }
  return users
}

/**
 * Adds a user or gives it other credentials; undefined takes it away. Comments and the order of the others stay.
 * @returns whether the user was there
 * @throws Failure ERR_USERS_FILE
 */
export function changeUser(path: string, name: string, credentials: Credentials | undefined): boolean {
  const lines = linesOf(path, true)
  const at = lines.findIndex((line) => line.startsWith(`${name}:`))
  const changed = credentials === undefined ? [] : [`${name}:${formatCredentials(credentials)}`]
  if (at >= 0) lines.splice(at, 1, ...changed)
  else lines.push(...changed)
  const text = lines.length === 0 ? '' : `${lines.join('\n')}\n`
  try {
    writeFileSync(path, text, { mode: 0o600 })
  } catch (error) {
    throw new Failure('ERR_USERS_FILE', `${path} cannot be written`, error)
  }
  return at >= 0
}

function linesOf(path: string, mayBeAbsent = false): string[] {
  try {
    const lines = readFileSync(path, 'utf8').split(/\r?\n/)
    if (lines.at(-1) === '') lines.pop()
    return lines
  } catch (error) {
    if (mayBeAbsent && (error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new Failure('ERR_USERS_FILE', `${path} cannot be read`, error)
  }
}
