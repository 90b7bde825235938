/** The file as the system sees it: whether it is still the one that was opened, and how much room the disk has left. */
import type { Stats } from 'node:fs'
import { readFile, stat, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'

export class FileWatch {
  readonly #path: string
  /** Of the database and its write-ahead log; undefined before the first look. */
  #opened: string | undefined

  constructor(path: string) {
    this.#path = path
  }

  /** The files that are there now are the right ones. */
  async begin(): Promise<void> {
    this.#opened = await this.#identity()
  }

  /** Somebody deleted or replaced them: what is written goes nowhere that the next start would find. */
  async isGone(): Promise<boolean> {
    return this.#opened !== undefined && (await this.#identity()) !== this.#opened
  }

  /** What this user may still write, and the whole disk; undefined when the system does not say. */
  async space(): Promise<{ readonly freeBytes: number; readonly diskBytes: number } | undefined> {
    try {
      const { bavail, blocks, bsize } = await statfs(dirname(this.#path))
      return { freeBytes: bavail * bsize, diskBytes: blocks * bsize }
    } catch {
      return undefined
    }
  }

  async #identity(): Promise<string> {
    const found = await Promise.all([this.#path, `${this.#path}-wal`].map(statIfThere))
    return found.map((stats) => (stats === undefined ? 'none' : `${stats.dev}:${stats.ino}`)).join(' ')
  }
}

/** Bytes that this process has had written to disks since it began; undefined where the system does not say. */
export async function writtenByProcess(): Promise<number | undefined> {
  const text = await readFile('/proc/self/io', 'utf8').catch(() => '')
  const bytes = /^write_bytes: (\d+)/m.exec(text)?.[1]
  return bytes === undefined ? undefined : Number(bytes)
}

function statIfThere(path: string): Promise<Stats | undefined> {
  return stat(path).catch(() => undefined)
}
