/** The thread of load-apart.ts. Failures cross as plain objects, because their class does not. */
import { parentPort, workerData } from 'node:worker_threads'
import { loadSettings } from './load.ts'
import type { LoadRequest } from './load-apart.ts'

const { profile, path, env } = workerData as LoadRequest
const loaded = loadSettings(profile, path, env)
parentPort?.postMessage(
  loaded.ok ? loaded : { ok: false, error: loaded.error.map(({ code, detail }) => ({ code, detail })) },
)
