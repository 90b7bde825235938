/**
 * `loadSettings` in a thread of its own, which ends with the answer: the memory that the schema library needs, more
 * than all tables of an idle broker, goes back to the system, and the caller can load other things meanwhile.
 */
import { once } from 'node:events'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { type ErrorCode, Failure } from '../lib/errors.ts'
import { err, type Result } from '../lib/result.ts'
import type { Environment } from './environment.ts'
import type { Profile } from './option.ts'
import type { Settings } from './settings.ts'

export type LoadRequest = {
  readonly profile: Profile
  readonly path: string | undefined
  readonly env: Environment
}

type LoadAnswer = Result<Settings, readonly { readonly code: ErrorCode; readonly detail: string }[]>

/** Same as `loadSettings`, later. */
export async function loadSettingsApart(
  profile: Profile,
  path: string | undefined,
  env: Environment,
): Promise<Result<Settings, readonly Failure[]>> {
  const extension = extname(import.meta.url)
  // Source runs under a loader that a new thread does not have.
  if (extension === '.ts') return (await import('./load.ts')).loadSettings(profile, path, env)

  const request: LoadRequest = { profile, path, env: { ...env } }
  const worker = new Worker(new URL(`./load-worker${extension}`, import.meta.url), { workerData: request })
  const [answer] = (await once(worker, 'message')) as [LoadAnswer]
  return answer.ok ? answer : err(answer.error.map(({ code, detail }) => new Failure(code, detail)))
}
