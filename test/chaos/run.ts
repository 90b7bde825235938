/**
 * Gateways with devices under one cloud, all of them real processes, while processes are killed and links are faulted:
 *
 *   devices --MQTT--> edge processes --TLS--> fault proxies --TLS--> cloud process --MQTT--> collector
 *           <---------------------------- commands --------------------------- operator
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { connectAsync } from 'mqtt'
import { BrokerProcess, runCommand } from '../../firmware-sim/demo/broker-process.ts'
import { cloudConfig } from '../../firmware-sim/demo/configs.ts'
import { freePort } from '../../firmware-sim/free-port.ts'
import { SeededRandom } from '../../firmware-sim/seeded-random.ts'
import { UplinkProxy } from '../../firmware-sim/uplink-proxy.ts'
import { askBroker } from '../../src/cli/control-client.ts'
import { ChaosClient, type Outlet, type Receive } from './client.ts'
import { describeStep, drawPlan, type Step } from './plan.ts'
import { Stream } from './stream.ts'

export interface ChaosSettings {
  readonly seed: number
  readonly seconds: number
  readonly gatewayCount: number
  readonly deviceCount: number
  readonly folder: string
  readonly tell: (line: string) => void
}

export interface ChaosResult {
  readonly up: readonly Stream[]
  /** Up too, of messages that expire soon: what does not arrive must stand in a ledger. */
  readonly expiring: readonly Stream[]
  readonly down: readonly Stream[]
  /** In the ledgers of all brokers together. */
  readonly expiredCount: number
  /** The same for every other reason. */
  readonly otherLosses: Readonly<Record<string, number>>
  /** Gaps that the cloud found and no gateway explained. */
  readonly unexplainedCount: number
  /** Of clients that were refused something or told nonsense. */
  readonly clientFaults: readonly string[]
  readonly killCount: number
  readonly linkFaultCount: number
  readonly settleSeconds: number
}

/** Each device publishes so often, and gets a command so often. */
const readingMs = 250
const commandMs = 1000

/** The readings of every fourth device are worth nothing after so long. */
const expirySeconds = 2
const expiringEvery = 4

/** Messages of one device in the time after which a place in the log is saved at the latest, and on their way. */
const forgottenPerKill = 2 * (1000 / readingMs)

/** What is not there so long after the last fault does not come. */
const settleMsMax = 60_000

interface Gateway {
  readonly edge: BrokerProcess
  readonly proxy: UplinkProxy
}

export async function chaosRun(settings: ChaosSettings): Promise<ChaosResult> {
  const { seed, seconds, gatewayCount, deviceCount, folder, tell } = settings
  const plan = drawPlan(seed, seconds * 1000, gatewayCount)
  const certs = join(folder, 'certs')
  const names = Array.from({ length: gatewayCount }, (_, index) => `gw${index + 1}`)
  await runCommand(['certs', '--dir', certs, '--host', 'localhost', ...names.flatMap((name) => ['--client', name])])
  const [tls, tcp] = [await freePort(), await freePort()]
  const cloudFile = join(folder, 'cloud.toml')
  writeFileSync(cloudFile, cloudConfig({ folder, certs, tls, tcp }))
  const cloud = new BrokerProcess('cloud', cloudFile, join(folder, 'cloud.log'), tcp)
  const gateways: Gateway[] = []
  const clients: ChaosClient[] = []
  const streams = new Map<string, Stream>()
  const open = (id: string, mayExpire = false) => {
    const stream = new Stream(id, mayExpire)
    streams.set(id, stream)
    return stream
  }
  const receive: Receive = (id, number, connection, isOnceOnly) => {
    streams.get(id)?.arrive(number, connection, isOnceOnly)
  }
  const timers: NodeJS.Timeout[] = []
  try {
    await cloud.start()
    const collector = new ChaosClient('collector', tcp, 'g/+/up/#', receive)
    const operator = new ChaosClient('operator', tcp, undefined, receive)
    clients.push(collector, operator)
    const readings: { client: ChaosClient; outlet: Outlet }[] = []
    const commands: Outlet[] = []
    for (const [index, name] of names.entries()) {
      const proxy = new UplinkProxy({
        target: { host: '127.0.0.1', port: tls },
        random: new SeededRandom(seed + index),
      })
      const port = await freePort()
      const file = join(folder, `${name}.toml`)
      writeFileSync(file, edgeConfig({ folder, certs, name, port, uplink: await proxy.listen() }))
      const edge = new BrokerProcess('edge', file, join(folder, `${name}.log`), port)
      gateways.push({ edge, proxy })
      await edge.start()
      for (let at = 1; at <= deviceCount; at++) {
        const id = `${name}-d${at}`
        const qos = at % 2 === 0 ? 2 : 1
        const device = new ChaosClient(id, port, `cmd/${id}`, receive)
        clients.push(device)
        const isExpiring = at % expiringEvery === 0
        const stream = open(isExpiring ? `expiring-${id}` : `up-${id}`, isExpiring)
        readings.push({
          client: device,
          outlet: { stream, topic: `up/${id}`, qos, expirySeconds: isExpiring ? expirySeconds : undefined },
        })
        commands.push({ stream: open(`down-${id}`), topic: `g/${name}/cmd/${id}`, qos: 2, expirySeconds: undefined })
      }
    }
    for (const { client } of clients) client.start()
    await until(() => clients.every((client) => client.isReady), 90_000)
    // The first command goes once the bridges are subscribed: before that nobody is there to get it.
    await wait(2500)
    for (const { client, outlet } of readings) timers.push(setInterval(() => client.publish(outlet), readingMs))
    for (const outlet of commands) timers.push(setInterval(() => operator.publish(outlet), commandMs))

    await play(plan, cloud, gateways, tell)
    for (const timer of timers) clearInterval(timer)
    tell('everything is well again; settling')
    const settleStart = performance.now()
    const hasFault = () => clients.some(({ fault }) => fault !== undefined)
    await until(() => hasFault() || [...streams.values()].every((stream) => stream.isSettled), settleMsMax)
    // Time for what should not come.
    await wait(1500)
    const all = [...streams.values()]
    const folders = ['cloud', ...names].map((name) => join(folder, name))
    return {
      up: all.filter(({ id }) => id.startsWith('up-')),
      expiring: all.filter(({ id }) => id.startsWith('expiring-')),
      ...(await lossesOf(folders)),
      unexplainedCount: await unexplainedCount(tcp, names),
      clientFaults: clients.flatMap(({ fault }) => fault?.message ?? []),
      down: all.filter(({ id }) => id.startsWith('down-')),
      killCount: plan.filter(({ what }) => what !== 'link').length,
      linkFaultCount: plan.filter(({ what }) => what === 'link').length,
      settleSeconds: (performance.now() - settleStart) / 1000,
    }
  } finally {
    for (const timer of timers) clearInterval(timer)
    await Promise.all(clients.map(({ client }) => client.stop()))
    await Promise.all(gateways.map(({ edge }) => edge.kill()))
    await cloud.kill()
    await Promise.all(gateways.map(({ proxy }) => proxy.close()))
  }
}

/** What the ledgers say. */
async function lossesOf(dataDirs: readonly string[]): Promise<Pick<ChaosResult, 'expiredCount' | 'otherLosses'>> {
  let expiredCount = 0
  const otherLosses: Record<string, number> = {}
  for (const dataDir of dataDirs) {
    const summary = (await askBroker(dataDir, 'GET', '/loss')) as { countByReason: Record<string, number> }
    for (const [reason, count] of Object.entries(summary.countByReason)) {
      if (reason === 'expired') expiredCount += count
      else otherLosses[reason] = (otherLosses[reason] ?? 0) + count
    }
  }
  return { expiredCount, otherLosses }
}

/** What the cloud says that it misses of each gateway, as far as it knows of any. */
async function unexplainedCount(port: number, gateways: readonly string[]): Promise<number> {
  const counts = new Map(gateways.map((name) => [name, 0]))
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`)
  client.on('message', (topic, payload) => {
    const { unexplained } = JSON.parse(payload.toString()) as { unexplained: { count: number } }
    counts.set(topic.split('/')[2] ?? '', unexplained.count)
  })
  await client.subscribeAsync('$fleet/gateways/+/loss')
  // Retained messages come before the answer to a ping.
  await wait(500)
  await client.endAsync()
  return [...counts.values()].reduce((sum, count) => sum + count, 0)
}

/**
 * One thing at a time goes wrong with each part; a step that finds its part down already is over with it. Rejects with
 * the first broker that did not come back, once nothing is under way any more: whoever clears up then finds them all.
 */
async function play(
  plan: readonly Step[],
  cloud: BrokerProcess,
  gateways: readonly Gateway[],
  tell: (line: string) => void,
): Promise<void> {
  const startMs = performance.now()
  const underWay: Promise<void>[] = []
  const down = new Set<BrokerProcess>()
  const failures: unknown[] = []
  for (const step of plan) {
    if (failures.length > 0) break
    await wait(Math.max(0, startMs + step.atMs - performance.now()))
    tell(describeStep(step))
    if (step.what === 'link') {
      const { proxy } = gateways[step.gateway] as Gateway
      proxy.setFault(step.fault)
      underWay.push(wait(step.lastsMs).then(() => proxy.setFault({ kind: 'pass' })))
      continue
    }
    const broker = step.what === 'kill-cloud' ? cloud : (gateways[step.gateway] as Gateway).edge
    if (down.has(broker)) continue
    down.add(broker)
    const isBack = restart(broker, step.lastsMs).then(
      () => void down.delete(broker),
      (error: unknown) => void failures.push(error),
    )
    underWay.push(isBack)
  }
  await Promise.all(underWay)
  if (failures.length > 0) throw failures[0]
}

async function restart(broker: BrokerProcess, downMs: number): Promise<void> {
  await broker.kill()
  await wait(downMs)
  await broker.start()
}

async function until(condition: () => boolean, msMax: number): Promise<void> {
  const deadline = performance.now() + msMax
  while (!condition() && performance.now() < deadline) await wait(50)
}

function edgeConfig(values: { folder: string; certs: string; name: string; port: number; uplink: number }): string {
  const { folder, certs, name, port, uplink } = values
  return `name = "${name}"
data_dir = "${folder}/${name}"

[[listener]]
type = "tcp"
bind = "127.0.0.1:${port}"

[[bridge]]
name = "cloud"
address = "tls://localhost:${uplink}"
ca = "${certs}/ca.crt"
certificate = "${certs}/${name}.crt"
private_key = "${certs}/${name}.key"
reconnect_min_ms = 200
reconnect_max_ms = 2000
connect_timeout_ms = 3000

[[bridge.out]]
filter = "up/#"
qos = 2

[[bridge.in]]
filter = "cmd/#"
qos = 2
`
}

/** Promises that were broken, a line each. */
export function violations({ up, expiring, down, ...told }: ChaosResult): string[] {
  const lostCount = expiring.reduce((sum, { lost }) => sum + lost.length, 0)
  const repeatedCount = expiring.reduce((sum, stream) => sum + stream.repeatedCount, 0)
  const broken: string[] = []
  // Each copy that a publisher sent again may have expired as well; and a broker that was killed has forgotten which of
  // the last messages were acknowledged, finds them expired when it is back and cannot know that they arrived.
  const surplusMax = repeatedCount + told.killCount * expiring.length * forgottenPerKill
  if (told.expiredCount < lostCount || told.expiredCount > lostCount + surplusMax)
    broken.push(`${lostCount} did not arrive, and the ledgers have ${told.expiredCount} that expired`)
  for (const [reason, count] of Object.entries(told.otherLosses)) broken.push(`ledger: ${count} lost as ${reason}`)
  broken.push(...told.clientFaults)
  if (told.unexplainedCount > 0) broken.push(`the cloud misses messages, ${told.unexplainedCount} times`)
  const streams = [...up, ...expiring, ...down].flatMap((stream) => {
    const broken: string[] = []
    if (stream.publishedCount === 0) broken.push('published nothing')
    if (stream.acknowledgedCount !== stream.publishedCount) broken.push('has messages without an acknowledgement')
    if (stream.lost.length > 0 && !expiring.includes(stream)) broken.push(`lost ${stream.lost.slice(0, 10).join(', ')}`)
    if (stream.doubledCount > 0) broken.push(`doubled ${stream.doubledCount}`)
    if (stream.lateCount > 0) broken.push(`${stream.lateCount} out of order`)
    return broken.map((what) => `${stream.id}: ${what}`)
  })
  return [...broken, ...streams]
}

export function table({ up, expiring, down }: ChaosResult): Record<string, Record<string, number>> {
  const sum = (streams: readonly Stream[], of: (stream: Stream) => number) =>
    streams.reduce((total, stream) => total + of(stream), 0)
  const row = (streams: readonly Stream[]) => ({
    streams: streams.length,
    acknowledged: sum(streams, (stream) => stream.acknowledgedCount),
    arrived: sum(streams, (stream) => stream.arrivedCount),
    lost: sum(streams, (stream) => stream.lost.length),
    doubled: sum(streams, (stream) => stream.doubledCount),
    'out of order': sum(streams, (stream) => stream.lateCount),
    'sent again': sum(streams, (stream) => stream.sentAgainCount),
    'redelivered on the last hop': sum(streams, (stream) => stream.redeliveredCount),
  })
  return { 'up: device to cloud': row(up), 'up, expiring': row(expiring), 'down: cloud to device': row(down) }
}
