/** Builds disk-shim.c, once per process. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const source = fileURLToPath(new URL('disk-shim.c', import.meta.url))

let built: string | undefined

/** Name of the library. Throws what the compiler says. */
export function buildShim(): string {
  if (built !== undefined) return built
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-shim-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'disk-shim.so')
  const result = spawnSync('gcc', ['-O2', '-shared', '-fPIC', '-o', path, source, '-ldl', '-lpthread'], {
    encoding: 'utf8',
  })
  if (result.error !== undefined) throw result.error
  if (result.status !== 0) throw new Error(result.stderr)
  built = path
  return path
}

export interface ShimOptions {
  /** The directory whose files count. */
  readonly folder: string
  readonly trace?: string
  readonly isSyncOff?: boolean
  /** File that says what goes wrong at present. */
  readonly faultFile?: string
}

/** Variables of a process that is to run under the shim. */
export function shimEnv({ folder, trace, isSyncOff, faultFile }: ShimOptions): NodeJS.ProcessEnv {
  return {
    LD_PRELOAD: buildShim(),
    DISK_SHIM_DIR: folder,
    ...(trace === undefined ? {} : { DISK_SHIM_TRACE: trace }),
    ...(isSyncOff === true ? { DISK_SHIM_SYNC: 'off' } : {}),
    ...(faultFile === undefined ? {} : { DISK_SHIM_FAULT: faultFile }),
  }
}
