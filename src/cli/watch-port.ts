/** A serial port that the broker has, seen through the broker: asked again and again for what passed. */
import { setTimeout as wait } from 'node:timers/promises'
import type { TapView } from '../gateway/port-tap.ts'
import { askBroker, brokerDirectory } from './control-client.ts'
import { print } from './output.ts'

const askEveryMs = 200

const arrows = { device: '<', gateway: '>' } as const

/** Resolves when the person has seen enough. Rejects with a Failure when the broker goes, or has no such port. */
export async function watchPort(name: string, dataDir: string | undefined): Promise<void> {
  const directory = brokerDirectory(dataDir, process.env)
  const enough = new AbortController()
  const stop = (): void => enough.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop)
  process.stdout.once('error', stop)
  let startedAtMs = 0
  let next = 0
  for (let isFirst = true; !enough.signal.aborted; isFirst = false) {
    const path = `/serial/${encodeURIComponent(name)}?after=${next}`
    const view = (await askBroker(directory, 'GET', path)) as TapView
    if (isFirst) print(`--- watching ${name}: < from the device, > to it`)
    if (view.missedCount > 0) print(`--- ${view.missedCount} lines passed too fast to be kept`)
    for (const { atMs, from, text } of view.lines) {
      startedAtMs ||= atMs
      print(`${((atMs - startedAtMs) / 1000).toFixed(3).padStart(8)} ${arrows[from]} ${text}`)
    }
    next = view.next
    await wait(askEveryMs, undefined, { signal: enough.signal }).catch(() => undefined)
  }
}
