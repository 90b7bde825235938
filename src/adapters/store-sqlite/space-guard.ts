/**
 * Space on the disk that the store leaves to others. Short of it, nothing new is taken until there is clearly enough again;
 * pages that the file has free count, because they can be written although the disk is full.
 */
import { Failure } from '../../lib/errors.ts'
import type { Clock, Timer } from '../../ports/clock.ts'
import type { FileWatch } from './file-watch.ts'

/** While space is short it is looked at so often. */
const lookIntervalMs = 1000

/** Short of space, the store goes on when there is so much more than it must leave. */
const enoughAgain = 1.1

export interface SpaceGuardOptions {
  readonly path: string
  /** To be left; 0 = no matter. */
  readonly freeBytesMin: number
  /** The same as a share of the disk. */
  readonly freePercentMin: number
  readonly clock: Clock
  readonly watch: FileWatch
  /** In pages of the file that are free. */
  readonly spareBytes: () => Promise<number>
  readonly onShort: (failure: Failure) => void
  readonly onEnough: () => void
}

export class SpaceGuard {
  /** Less space is left than is to be left. */
  isShort = false
  readonly #options: SpaceGuardOptions
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: SpaceGuardOptions) {
    this.#options = options
  }

  async look(): Promise<void> {
    const { freeBytesMin, freePercentMin, watch } = this.#options
    if (freeBytesMin === 0 && freePercentMin === 0) return
    const space = await watch.space()
    if (space === undefined) return
    const byShare = (space.diskBytes * freePercentMin) / 100
    const least = Math.max(freeBytesMin, byShare)
    let { freeBytes } = space
    if (freeBytes < least * enoughAgain) freeBytes += await this.#options.spareBytes()
    const wanted = least * (this.isShort ? enoughAgain : 1)
    if (freeBytes < wanted && !this.isShort) {
      this.isShort = true
      const setting = byShare > freeBytesMin ? 'free_percent_min' : 'free_bytes_min'
      const detail = `${this.#options.path}: ${Math.floor(space.freeBytes / 1024)} KiB left, less than store.${setting}`
      this.#options.onShort(new Failure('ERR_STORE_SPACE', detail))
    } else if (freeBytes >= wanted && this.isShort) {
      this.isShort = false
      this.#options.onEnough()
    }
    if (this.isShort) this.#lookAgain()
  }

  #lookAgain(): void {
    if (this.#isStopped) return
    this.#timer ??= this.#options.clock.after(lookIntervalMs, () => {
      this.#timer = undefined
      void this.look()
    })
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }
}
