/**
 * Where messages end that have gone round, at one bridge: by the path they carry (path.ts), and where they carry none
 * by how often they come (breaker.ts).
 */
import type { Clock } from '../ports/clock.ts'
import type { Publish } from '../protocol/packets/publish.ts'
import { Breaker } from './breaker.ts'
import { pathIn, pathName, pathOf, pathOut, withPath } from './path.ts'

/** Told when a message goes round that no path would have ended, and when that is over. */
export interface LoopAlarm {
  /** @param clientId of the bridge that brings it */
  raise(topic: string, clientId: string): void
  clear(): void
}

export class LoopGuard {
  readonly #own: string
  readonly #breaker: Breaker
  readonly #alarm: LoopAlarm
  #hasProperties = true
  /** Messages that ended here. */
  endedCount = 0

  /**
   * @param parts.epoch identity of the local log, by which this broker is known on paths
   * @param parts.isRelay the client is a bridge
   */
  constructor(parts: { epoch: string; clock: Clock; isRelay: (clientId: string) => boolean; alarm: LoopAlarm }) {
    this.#own = pathName(parts.epoch)
    this.#alarm = parts.alarm
    this.#breaker = new Breaker(parts.clock, parts.isRelay, ({ topic, publisher }) =>
      parts.alarm.raise(topic, publisher),
    )
  }

  /** Called now and then. */
  look(): void {
    if (this.#breaker.isQuiet) this.#alarm.clear()
  }

  close(): void {
    this.#alarm.clear()
  }

  /** @param version what the remote side speaks: before 5.0 nothing carries a path */
  remoteKnows(version: 4 | 5): void {
    this.#hasProperties = version === 5
  }

  /** The path for `message` on its way out; undefined when it has to end here. */
  out(message: Publish): readonly string[] | undefined {
    const path = pathOut(pathOf(message.properties?.userProperties), this.#own)
    if (path !== undefined && this.#breaker.lets(message)) return path
    this.endedCount++
    return undefined
  }

  /** Puts this broker on the path of a message that came in. @returns false when it has to end here */
  in(message: Publish): boolean {
    if (!this.#hasProperties) return true
    const userProperties = message.properties?.userProperties
    const path = pathIn(pathOf(userProperties), this.#own)
    if (path === undefined) {
      this.endedCount++
      return false
    }
    message.properties = { ...message.properties, userProperties: withPath(userProperties, path) }
    return true
  }
}
