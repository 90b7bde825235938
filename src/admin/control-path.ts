/**
 * Where the control socket of a data directory is. The system takes names of sockets up to 107 bytes and cuts longer
 * ones without a word; in a directory with a longer name the socket is reached through an open descriptor of it.
 */
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'

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

function nothingToRelease(): void {
  // The path is the real one.
}
