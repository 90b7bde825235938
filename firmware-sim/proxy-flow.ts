/**
 * One direction of a proxied connection: what one socket sends, held as long as the fault asks for, then written to the
 * other. Order is always kept, and the end of the stream or its reset takes its turn behind the bytes. At most
 * `heldBytesMax` wait here; then the sender is no longer read, as with a full line.
 */
import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { RingQueue } from '../src/lib/ring-queue.ts'

/** How bytes are delayed on their way. Times in milliseconds. */
export type Delay =
  | { readonly kind: 'pass' }
  | { readonly kind: 'latency'; readonly delayMs: number; readonly jitterMs: number }
  | { readonly kind: 'bandwidth'; readonly bytesPerSecond: number }
  /** Nothing leaves until the delay changes. */
  | { readonly kind: 'stall' }

type Item = Buffer | 'end' | 'reset'
type Held = { readonly item: Item; readonly dueMs: number }

const heldBytesMax = 1024 * 1024

/** A slow line passes this many portions a second, so that bytes trickle instead of coming in lumps. */
const portionsPerSecond = 20

export class ProxyFlow {
  readonly #from: Socket
  readonly #to: Socket
  readonly #random: { next(): number }
  #delay: Delay
  #held = new RingQueue<Held>(Infinity)
  #heldByteCount = 0
  /** When the last held item is due: nothing overtakes it. */
  #lastDueMs = 0
  #timer: NodeJS.Timeout | undefined
  #isCut = false

  constructor(from: Socket, to: Socket, delay: Delay, random: { next(): number }) {
    this.#from = from
    this.#to = to
    this.#delay = delay
    this.#random = random
    from.on('data', (chunk: Buffer) => this.#take(chunk))
    from.on('end', () => this.#take('end'))
    from.on('close', (hadError) => {
      if (hadError || !from.readableEnded) this.#take('reset')
    })
    to.on('drain', () => this.#pump())
  }

  /** What is held already follows the new delay too. */
  setDelay(delay: Delay): void {
    this.#delay = delay
    const held = this.#held
    this.#held = new RingQueue(Infinity)
    this.#heldByteCount = 0
    this.#lastDueMs = 0
    for (const { item } of held) this.#hold(item)
    this.#pump()
  }

  /** From now on everything that comes is lost. */
  cut(): void {
    this.#isCut = true
    clearTimeout(this.#timer)
    this.#held.clear()
    this.#from.resume()
  }

  #take(item: Item): void {
    if (this.#isCut) return
    this.#hold(item)
    this.#pump()
  }

  #hold(item: Item): void {
    const delay = this.#delay
    const nowMs = performance.now()
    if (delay.kind === 'bandwidth' && typeof item !== 'string') {
      const portionBytes = Math.max(1, Math.ceil(delay.bytesPerSecond / portionsPerSecond))
      for (let at = 0; at < item.length; at += portionBytes) {
        const portion = item.subarray(at, at + portionBytes)
        const sendingMs = (portion.length / delay.bytesPerSecond) * 1000
        this.#add(portion, Math.max(nowMs, this.#lastDueMs) + sendingMs)
      }
    } else {
      const waitMs = delay.kind === 'latency' ? delay.delayMs + this.#random.next() * delay.jitterMs : 0
      this.#add(item, Math.max(nowMs + waitMs, this.#lastDueMs))
    }
  }

  #add(item: Item, dueMs: number): void {
    this.#lastDueMs = dueMs
    this.#held.push({ item, dueMs })
    if (typeof item !== 'string') this.#heldByteCount += item.length
  }

  #pump(): void {
    clearTimeout(this.#timer)
    if (this.#isCut) return
    while (this.#delay.kind !== 'stall' && !this.#to.writableNeedDrain) {
      const next = this.#held.peek()
      if (next === undefined) break
      const waitMs = next.dueMs - performance.now()
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#pump(), waitMs)
        break
      }
      this.#held.shift()
      this.#deliver(next.item)
    }
    if (this.#heldByteCount > heldBytesMax) this.#from.pause()
    else this.#from.resume()
  }

  #deliver(item: Item): void {
    if (item === 'end') this.#to.end()
    else if (item === 'reset') this.#to.resetAndDestroy()
    else {
      this.#heldByteCount -= item.length
      if (this.#to.writable) this.#to.write(item)
    }
  }
}
