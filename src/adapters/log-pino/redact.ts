/**
 * What never appears in a log, wherever a log line carries it. Fields are flat by rule; two more levels are covered
 * for objects that came from outside.
 */
const secretFields = [
  'password',
  'passwordHash',
  'passphrase',
  'secret',
  'token',
  'authorization',
  'authenticationData',
  'privateKey',
  'private_key',
  'payload',
]

/** Paths in the form that pino takes. */
export const redactedPaths: readonly string[] = secretFields.flatMap((field) => [field, `*.${field}`, `*.*.${field}`])
