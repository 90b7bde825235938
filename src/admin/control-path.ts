/**
 * Where the control socket of a data directory is. The system takes names of sockets up to 107 bytes and cuts longer
 * ones without a word; in a directory with a longer name the socket is reached through an open descriptor of it.
 *
 * While the data directory cannot be written the socket is in a run-time directory, or where temporary files are, under
 * a name that is made of the data directory: who knows that finds it.
 */
import { createHash } from 'node:crypto'
import { closeSync, openSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const pathBytesMax = 107

const fileName = 'control.sock'

export interface ControlPath {
  /** For people. */
  readonly path: string
  /** For the system; good until `release`. */
  readonly shortPath: string
  release(): void
}

/** @throws an error of the system when `dataDir` cannot be opened */
export function controlPath(dataDir: string): ControlPath {
  const path = join(dataDir, fileName)
  if (Buffer.byteLength(path) <= pathBytesMax) return { path, shortPath: path, release: nothingToRelease }
  const descriptor = openSync(dataDir, 'r')
  return {
    path,
    shortPath: `/proc/self/fd/${descriptor}/${fileName}`,
    release: () => closeSync(descriptor),
  }
}

/** Where else it may be, the best place first. @param env RUNTIME_DIRECTORY is told by systemd, to the broker alone */
export function substitutePaths(dataDir: string, env: { readonly RUNTIME_DIRECTORY?: string }): ControlPath[] {
  const told = env.RUNTIME_DIRECTORY?.split(':') ?? []
  const name = createHash('sha256').update(realPathOf(dataDir)).digest('hex').slice(0, 16)
  return [...new Set([...told, '/run/tidegate', tmpdir(), '/tmp'])]
    .filter((directory) => directory !== '')
    .map((directory) => join(directory, `tidegate-${name}.sock`))
    .filter((path) => Buffer.byteLength(path) <= pathBytesMax)
    .map((path) => ({ path, shortPath: path, release: nothingToRelease }))
}

function realPathOf(directory: string): string {
  try {
    return realpathSync(directory)
  } catch {
    return resolve(directory) // It could not be made.
  }
}

function nothingToRelease(): void {
  // The path is the real one.
}
