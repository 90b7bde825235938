/**
 * Space for opening the store when the disk is full: SQLite must make two files before it can read one. A file beside the
 * store holds that space, and is deleted when it is needed. It is made anew at a start that has space for it.
 */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'

/** The index of the write-ahead log takes 32 KB, and some commits are to fit as well. */
const reserveBytes = 256 * 1024

const probeBytes = 64 * 1024

function reservePath(path: string): string {
  return `${path}-reserve`
}

/** `ENOSPC`, of an error of the system. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}

/** Where there is no space, there is no reserve. */
export async function keepReserve(path: string): Promise<void> {
  const file = reservePath(path)
  if (existsSync(file)) return
  // Bytes that no file system makes smaller.
  await writeFile(file, randomBytes(reserveBytes), { mode: 0o600 }).catch(() => remove(file))
}

/** @returns whether there was one */
export async function releaseReserve(path: string): Promise<boolean> {
  const file = reservePath(path)
  if (!existsSync(file)) return false
  await rm(file, { force: true })
  return true
}

/** Why nobody could write beside the store now: `ENOSPC`, `EROFS` and the like; undefined when it can be done. */
export async function whyUnwritable(path: string): Promise<string | undefined> {
  const file = `${path}-probe`
  try {
    await writeFile(file, Buffer.alloc(probeBytes))
    return undefined
  } catch (error) {
    return errorCode(error)
  } finally {
    await remove(file)
  }
}

/** If it can be done. */
async function remove(file: string): Promise<void> {
  await rm(file, { force: true }).catch(() => undefined)
}
