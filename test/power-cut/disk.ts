/**
 * A disk that is replayed from a trace and can be cut off at any point. What it promises is what POSIX promises and no
 * more: after fsync of a file its content is there; after fsync of a directory its names are there. Of everything
 * else any part may be there, in sectors, in any order.
 */
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { SeededRandom } from '../fakes/seeded-random.ts'
import type { TraceEvent } from './trace.ts'

const sectorBytes = 512

/** Content and size changes that were not synced. */
type Change = { readonly offset: number; readonly data: Buffer } | { readonly size: number }

class FileContent {
  #durable: Buffer = Buffer.alloc(0)
  #changes: Change[] = []

  change(change: Change): void {
    this.#changes.push(change)
  }

  sync(): void {
    this.#durable = apply(this.#durable, this.#changes)
    this.#changes = []
  }

  get hasChanges(): boolean {
    return this.#changes.length > 0
  }

  after(cut: Cut, random: SeededRandom): Buffer {
    switch (cut) {
      case 'nothing more':
        return this.#durable
      case 'everything':
        return apply(this.#durable, this.#changes)
      case 'torn':
        return apply(this.#durable, torn(this.#changes, random))
    }
  }
}

/** What of the writes that were not synced reached the disk. */
export type Cut = 'nothing more' | 'everything' | 'torn'

interface Name {
  readonly content: FileContent
}

export class TracedDisk {
  readonly #folder: string
  /** What a process sees, and what is sure to be there after a cut. */
  readonly #names = new Map<string, Name>()
  readonly #durableNames = new Map<string, Name>()
  /** By number of the opening; directories have their path. */
  readonly #opened = new Map<number, { readonly path: string; readonly content: FileContent | undefined }>()

  /** @param folder the directory that holds the files */
  constructor(folder: string) {
    this.#folder = folder
  }

  /** Something was written that a cut may tear apart. */
  get hasChanges(): boolean {
    return [...this.#names.values()].some(({ content }) => content.hasChanges)
  }

  replay(event: TraceEvent): void {
    switch (event.kind) {
      case 'opened':
        this.#open(event.file, event.path)
        return
      case 'written':
        this.#opened.get(event.file)?.content?.change(event)
        return
      case 'truncated':
        this.#opened.get(event.file)?.content?.change(event)
        return
      case 'synced':
        this.#sync(event.file)
        return
      case 'unlinked':
        this.#names.delete(event.path)
        return
      case 'renamed': {
        const name = this.#names.get(event.path)
        this.#names.delete(event.path)
        if (name !== undefined) this.#names.set(event.to, name)
        return
      }
      case 'sent':
      case 'received':
        return
    }
  }

  /** The files as they are found after the power was cut now. */
  cut(cut: Cut, random: SeededRandom): Map<string, Buffer> {
    const names = cut === 'everything' ? this.#names : new Map(this.#durableNames)
    if (cut === 'torn') {
      for (const path of new Set([...this.#names.keys(), ...this.#durableNames.keys()])) {
        if (random.below(2) === 0) continue
        const name = this.#names.get(path)
        if (name === undefined) names.delete(path)
        else names.set(path, name)
      }
    }
    return new Map([...names].map(([path, { content }]) => [path, content.after(cut, random)]))
  }

  #open(file: number, path: string): void {
    const isDirectory = path === this.#folder || !path.startsWith(`${this.#folder}/`)
    if (isDirectory) {
      this.#opened.set(file, { path, content: undefined })
      return
    }
    let name = this.#names.get(path)
    if (name === undefined) {
      name = { content: new FileContent() }
      this.#names.set(path, name)
    }
    this.#opened.set(file, { path, content: name.content })
  }

  #sync(file: number): void {
    const opened = this.#opened.get(file)
    if (opened === undefined) return
    if (opened.content !== undefined) {
      opened.content.sync()
      return
    }
    for (const path of [...this.#durableNames.keys()]) {
      if (dirname(path) === opened.path && !this.#names.has(path)) this.#durableNames.delete(path)
    }
    for (const [path, name] of this.#names) if (dirname(path) === opened.path) this.#durableNames.set(path, name)
  }
}

function apply(before: Buffer, changes: readonly Change[]): Buffer {
  let size = before.length
  let capacity = size
  for (const change of changes) {
    size = 'size' in change ? change.size : Math.max(size, change.offset + change.data.length)
    capacity = Math.max(capacity, size)
  }
  const after = Buffer.alloc(capacity)
  before.copy(after)
  let end = before.length
  for (const change of changes) {
    if ('size' in change) {
      if (change.size < end) after.fill(0, change.size, end)
      end = change.size
    } else {
      change.data.copy(after, change.offset)
      end = Math.max(end, change.offset + change.data.length)
    }
  }
  return after.subarray(0, end)
}

/** Some sectors of some changes, in any order; a size may change before the data is there. */
function torn(changes: readonly Change[], random: SeededRandom): Change[] {
  const share = random.next()
  const pieces: Change[] = []
  for (const change of changes) {
    if ('size' in change) {
      if (random.next() < share) pieces.push(change)
      continue
    }
    const { offset, data } = change
    for (let start = 0; start < data.length; ) {
      const end = Math.min(data.length, start + sectorBytes - ((offset + start) % sectorBytes))
      if (random.next() < share) pieces.push({ offset: offset + start, data: data.subarray(start, end) })
      start = end
    }
  }
  for (let last = pieces.length - 1; last > 0; last--) {
    const other = random.below(last + 1)
    const piece = pieces[last] as Change
    pieces[last] = pieces[other] as Change
    pieces[other] = piece
  }
  return pieces
}

/** A new folder in memory where there is such a thing: nothing here has to reach a real disk. */
export function temporaryFolder(): string {
  return mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tidegate-power-cut-'))
}
