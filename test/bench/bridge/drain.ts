/**
 * The link of a gateway that has been in service fails, a backlog grows, and goes up over loopback when the link is back,
 * while others are live: how many messages a second reach a subscriber above, what each costs, and how long a live message
 * takes meanwhile.
 */
import { setTimeout as wait } from 'node:timers/promises'
import type { BrokerName } from '../brokers.ts'
import type { Loads, Relay } from './loads.ts'
import { Pair } from './pair.ts'

/** Went over the bridge before, as in a gateway that was not started just now. */
const servedCount = 30_000
const idleMs = 5000
/** So that the backlog is counted and committed, and those who wait for it are there. */
const settleMs = 500

/** `live/lane` is in a lane of its own where there are lanes; `live/same` is in that of the backlog. */
export interface Drained {
  readonly perSecond: number
  readonly edgeUsPerMessage: number
  readonly cloudUsPerMessage: number
  readonly isComplete: boolean
  readonly idleP99Us: number
  readonly laneP99Us: number
  readonly sameP99Us: number
}

export async function drain(name: BrokerName, loads: Loads, count: number): Promise<Drained> {
  let link: Relay | undefined
  const pair = await Pair.make(name, async (cloudPort) => {
    link = await loads.relay(cloudPort)
    return link.port
  })
  const { edge, cloud } = pair
  try {
    await cloud.start()
    await edge.start()
    await crosses(loads, pair)
    const served = loads.collect(cloud.port, servedCount, 30)
    await wait(settleMs)
    await loads.publish(edge.port, servedCount)
    await served.all
    await wait(settleMs)
    const idle = loads.live(edge.port, cloud.port, 'live/lane')
    await wait(idleMs)
    const idleP99Us = (await idle.end()).p99Us
    link?.cut()
    await loads.publish(edge.port, count)

    const { begun, all } = loads.collect(cloud.port, count, 30)
    await wait(settleMs)
    link?.mend()
    await begun
    const cpuBefore = [edge.cpuSeconds(), cloud.cpuSeconds()]
    const [lane, same] = ['live/lane', 'live/same'].map((topic) => loads.live(edge.port, cloud.port, topic))
    const { distinct, received, late, seconds } = await all
    const cpuAfter = [edge.cpuSeconds(), cloud.cpuSeconds()]
    const [laneLived, sameLived] = [await lane?.end(), await same?.end()]
    const us = (index: number) => (((cpuAfter[index] ?? 0) - (cpuBefore[index] ?? 0)) / count) * 1e6
    return {
      perSecond: distinct / seconds,
      edgeUsPerMessage: us(0),
      cloudUsPerMessage: us(1),
      isComplete: distinct === count && received === count && late === 0,
      idleP99Us,
      laneP99Us: laneLived?.p99Us ?? Number.NaN,
      sameP99Us: sameLived?.p99Us ?? Number.NaN,
    }
  } finally {
    await pair.remove()
    link?.end()
  }
}

/** The bridge is up once a message crosses. */
async function crosses(loads: Loads, { edge, cloud }: Pair): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    const probe = loads.live(edge.port, cloud.port, 'live/probe')
    await wait(200)
    const { received } = await Promise.race([probe.end(), wait(1000, { received: 0 })])
    if (received > 0) return
  }
  throw new Error('nothing crosses the bridge')
}
