/** Settings -> the methods of extended authentication, loaded where they are used. */
import type { Settings } from '../config/settings.ts'
import type { AuthenticationMethod } from '../ports/auth.ts'
import type { Random } from '../ports/random.ts'

export interface Methods {
  readonly all: readonly AuthenticationMethod[]
  /** Takes over what the files of users hold now. @throws Failure ERR_USERS_FILE */
  reload(): void
}

/** Rejects with a Failure when a file of users cannot be used. */
export async function authenticationMethods({ authentication }: Settings, random: Random): Promise<Methods> {
  if (authentication.scramUsers === undefined) return { all: [], reload: () => undefined }
  const { ScramSha256 } = await import('../adapters/auth-scram/scram.ts')
  const scram = new ScramSha256(authentication.scramUsers, random)
  return { all: [scram], reload: () => scram.reload() }
}
