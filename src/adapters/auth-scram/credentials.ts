/**
 * What is kept of a password for SCRAM-SHA-256 (RFC 5802, RFC 7677): enough to check a proof, not enough to make one.
 * Written as `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` in base64, the form that PostgreSQL uses.
 */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { must } from '../../lib/assert.ts'
import { prepared } from './saslprep.ts'

export interface Credentials {
  readonly iterations: number
  readonly salt: Buffer
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

/** @param password one that can be `prepared` */
export function makeCredentials(password: string, salt: Buffer, iterations: number): Credentials {
  const text = must(prepared(password), 'password that SASLprep takes')
  const saltedPassword = pbkdf2Sync(text, salt, iterations, 32, 'sha256')
  const clientKey = hmac(saltedPassword, 'Client Key')
  return { iterations, salt, storedKey: sha256(clientKey), serverKey: hmac(saltedPassword, 'Server Key') }
}

export function formatCredentials({ iterations, salt, storedKey, serverKey }: Credentials): string {
  const base64 = (bytes: Buffer) => bytes.toString('base64')
  return `SCRAM-SHA-256$${iterations}:${base64(salt)}$${base64(storedKey)}:${base64(serverKey)}`
}

const pattern = /^SCRAM-SHA-256\$(\d{4,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$/

/** undefined when it is not in that form. */
export function parseCredentials(text: string): Credentials | undefined {
  const [, iterations, ...fields] = pattern.exec(text) ?? []
  const [salt, storedKey, serverKey] = fields.map((field) => Buffer.from(field, 'base64'))
  if (salt === undefined || storedKey?.length !== 32 || serverKey?.length !== 32) return undefined
  return { iterations: Number(iterations), salt, storedKey, serverKey }
}

export function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

export function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}
