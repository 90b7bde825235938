/**
 * A link that dies without a packet while messages are on their way: how long until the edge knows it, and does
 * everything arrive once and in order? The fault proxy stands between, on real sockets.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { SeededRandom } from '../../../firmware-sim/seeded-random.ts'
import { UplinkProxy } from '../../../firmware-sim/uplink-proxy.ts'
import { ChaosClient } from '../../chaos/client.ts'
import { Stream } from '../../chaos/stream.ts'
import { Pair } from './pair.ts'

const delayMs = 50
const publishMs = 20
const settleMs = 3000
const noticeMsMax = 30_000

export interface Noticed {
  /** Round trip as the edge knows it, before each death. */
  readonly roundTripMs: number
  /** The longest, over all deaths. */
  readonly noticedMs: number
  readonly lostCount: number
  readonly doubledCount: number
  readonly lateCount: number
}

export async function deadLink(deathCount: number): Promise<Noticed> {
  let proxy: UplinkProxy | undefined
  const slow = { kind: 'latency', delayMs, jitterMs: 0 } as const
  const pair = await Pair.make('tidegate', (cloudPort) => {
    proxy = new UplinkProxy({ target: { host: '127.0.0.1', port: cloudPort }, random: new SeededRandom(1) })
    proxy.setFault(slow)
    return proxy.listen()
  })
  const { edge, cloud } = pair
  const stream = new Stream('up')
  const receive = (_id: string, number: number, connection: number, isOnceOnly: boolean) =>
    stream.arrive(number, connection, isOnceOnly)
  const collector = new ChaosClient('collector', cloud.port, 'up/#', receive)
  const device = new ChaosClient('device', edge.port, undefined, receive)
  const outlet = { stream, topic: 'up/a', qos: 1, expirySeconds: undefined } as const
  let timer: NodeJS.Timeout | undefined
  let roundTripMs = 0
  let noticedMs = 0
  try {
    await cloud.start()
    await edge.start()
    collector.client.start()
    device.client.start()
    while (!collector.isReady || !device.isReady || (await edge.bridge()).state !== 'online') await wait(20)
    timer = setInterval(() => device.publish(outlet), publishMs)
    for (let death = 0; death < deathCount; death++) {
      await wait(settleMs)
      roundTripMs = Math.max(roundTripMs, (await edge.bridge()).roundTripMs)
      noticedMs = Math.max(noticedMs, await die(pair, proxy as UplinkProxy, slow))
    }
    clearInterval(timer)
    const startMs = performance.now()
    while (!stream.isSettled && performance.now() - startMs < noticeMsMax) await wait(50)
    await wait(1000)
    const { lost, doubledCount, lateCount } = stream
    return { roundTripMs, noticedMs, lostCount: lost.length, doubledCount, lateCount }
  } finally {
    clearInterval(timer)
    await collector.client.stop()
    await device.client.stop()
    await pair.remove()
    await proxy?.close()
  }
}

/** What is open is a black hole, and new connections pass. @returns ms until the edge gives the connection up */
async function die({ edge }: Pair, proxy: UplinkProxy, next: Parameters<UplinkProxy['setFault']>[0]): Promise<number> {
  const lostBefore = lostCount(edge.log)
  const diedMs = performance.now()
  proxy.setFault({ kind: 'moved' })
  proxy.setFault(next)
  while (lostCount(edge.log) === lostBefore) {
    if (performance.now() - diedMs > noticeMsMax) return Number.POSITIVE_INFINITY
    await wait(5)
  }
  return performance.now() - diedMs
}

function lostCount(log: string): number {
  return log.split('uplink lost').length - 1
}
