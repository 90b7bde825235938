/** `[authentication]`: how clients prove who they are, beside their certificates. */
import { z } from 'zod'
import { optional, path } from '../option.ts'

export function authenticationSection() {
  return z.strictObject({
    scram_users: optional(
      path(),
      'none',
      'File of users who come in with the authentication method SCRAM-SHA-256 of MQTT 5.0, made by tidegate passwd and read again on SIGHUP. Relative to the configuration file.',
    ),
  })
}
