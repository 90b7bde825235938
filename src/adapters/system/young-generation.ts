/**
 * The room that V8 gives to new objects, resident once it was used. By itself V8 doubles it whenever many objects
 * survived, as when thousands of clients connect, and hardly ever takes it back: up to 32 MB that idle clients have no use
 * for. So here it grows while messages flow, and no further than makes collections rare.
 */
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** Both halves. Collections are so rare from here on that more room makes a message no cheaper. */
const bytesMax = 8_388_608

/** From here on the broker is busy. */
const messagesPerSecondMin = 10_000

export class YoungGeneration {
  #messageCount = 0
  #askedAtMs = performance.now()
  #mayGrow = false

  constructor() {
    this.hold()
  }

  /** It does not grow until messages flow. To be said again when a thread was started: that makes V8 forget it. */
  hold(): void {
    this.#let(false)
  }

  /** @param messageCount all that came and went so far; to be told every now and then */
  follow(messageCount: number): void {
    const nowMs = performance.now()
    const isBusy = messageCount - this.#messageCount > ((nowMs - this.#askedAtMs) / 1000) * messagesPerSecondMin
    this.#messageCount = messageCount
    this.#askedAtMs = nowMs
    const mayGrow = isBusy && youngBytes() < bytesMax
    if (mayGrow !== this.#mayGrow) this.#let(mayGrow)
  }

  #let(mayGrow: boolean): void {
    this.#mayGrow = mayGrow
    setFlagsFromString(`--semi-space-growth-factor=${mayGrow ? 2 : 1}`)
  }
}

function youngBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_size ?? 0
}
