/** Everything that runs in the demo, from the devices to the subscriber at the cloud, and what happens to it. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort } from '../free-port.ts'
import { isGood } from '../oracle/account.ts'
import { SeededRandom } from '../seeded-random.ts'
import { UplinkProxy } from '../uplink-proxy.ts'
import { BrokerProcess, runCommand } from './broker-process.ts'
import { cloudConfig, edgeConfig } from './configs.ts'
import { blackHoleMs, drawPlan } from './plan.ts'
import { type Screen, table } from './screen.ts'
import { readingOf, type Sensor, SerialSensor, serialPath, TcpSensor } from './sensors.ts'
import { type Subscriber, subscribe } from './subscriber.ts'

const serialIds = ['serial-1', 'serial-2', 'serial-3']
const tcpIds = ['tcp-1', 'tcp-2']
const gateway = 'gateway-1'
const ratePerSecond = 10
const productionMs = 30_000
/** For what is still on its way when the last reading was taken. */
const settleMsMax = 15_000

export class World {
  readonly #folder: string
  readonly #seed: number
  readonly #screen: Screen
  readonly #sensors: Sensor[] = []
  #serials: readonly SerialSensor[] = []
  #ports = { tcp: 0, cloud: 0, tls: 0 }
  #cloud: BrokerProcess | undefined
  #edge: BrokerProcess | undefined
  #proxy: UplinkProxy | undefined
  #subscriber: Subscriber | undefined
  #idle = { listenMs: 0, residentMegabytes: 0 }

  constructor(folder: string, seed: number, screen: Screen) {
    this.#folder = folder
    this.#seed = seed
    this.#screen = screen
  }

  async build(): Promise<void> {
    const certs = join(this.#folder, 'certs')
    await runCommand(['certs', '--dir', certs, '--host', 'localhost', '--client', gateway])
    this.#ports = { tcp: await freePort(), cloud: await freePort(), tls: await freePort() }
    const { tcp, cloud, tls } = this.#ports

    const cloudPath = this.#write('cloud.toml', cloudConfig({ folder: this.#folder, certs, tls, tcp: cloud }))
    this.#cloud = new BrokerProcess('cloud', cloudPath, join(this.#folder, 'cloud.log'), cloud)
    await this.#cloud.start()
    this.#proxy = new UplinkProxy({ target: { host: '127.0.0.1', port: tls }, random: new SeededRandom(this.#seed) })
    const uplink = await this.#proxy.listen()

    const serials = serialIds.map((id) => ({ id, path: serialPath(this.#folder, id) }))
    const edge = edgeConfig({ folder: this.#folder, certs, gateway, tcp, uplink, serials })
    this.#edge = new BrokerProcess('edge', this.#write('edge.toml', edge), join(this.#folder, 'edge.log'), tcp)
    const listenMs = await this.#edge.start()
    await wait(1500)
    this.#idle = { listenMs, residentMegabytes: this.#edge.residentMegabytes() }

    this.#subscriber = await subscribe(cloud, 'g/#', (topic, payload) => this.#onArrival(topic, payload))
    this.#screen.event(`cloud and edge run, ${this.#subscriber.name} listens at the cloud to g/#`)
    this.#serials = await Promise.all(
      serialIds.map((id, index) => SerialSensor.plugIn(this.#plan(id, index), this.#folder)),
    )
    this.#sensors.push(...this.#serials, ...tcpIds.map((id, index) => new TcpSensor(this.#plan(id, 10 + index), tcp)))
  }

  /** Lets the devices publish while everything goes wrong that the seed has in store. */
  async run(): Promise<void> {
    const plan = drawPlan(this.#seed, serialIds.length)
    for (const sensor of this.#sensors) sensor.start()
    const startedAtMs = performance.now()
    this.#screen.event(`${this.#sensors.length} devices publish ${ratePerSecond} readings a second each, QoS 1`)
    const at = async (ms: number, task: () => Promise<void> | void) => {
      await wait(Math.max(0, startedAtMs + ms - performance.now()))
      await task()
    }
    const progress = setInterval(() => this.#showProgress(), 200)
    try {
      await Promise.all([
        at(plan.blackHoleAtMs, () => this.#blackHole()),
        at(plan.restoreAtMs, () => this.#restoreUplink()),
        at(plan.killAtMs, () => this.#killEdge(plan.downMs)),
        at(plan.unplugAtMs, () => this.#unplug(plan.unplugIndex)),
        at(plan.replugAtMs, () => this.#replug(plan.unplugIndex)),
        at(productionMs, () => this.#settle()),
      ])
    } finally {
      clearInterval(progress)
    }
  }

  /** Prints what became of every reading. @returns whether all is well */
  async judge(): Promise<boolean> {
    await wait(500) // A message that came twice may come a little later.
    this.#update()
    const verdicts = this.#sensors.map((sensor) => sensor.account.verdict())
    const isFine = verdicts.every(isGood)
    this.#screen.line(`\n${table(verdicts)}\n`)
    this.#screen.line('sent again: the crash swallowed the PUBACK, so the device sent the reading once more;')
    this.#screen.line('            to MQTT that is a new message [MQTT-4.3.2-5], and it arrives once more.')
    const { listenMs, residentMegabytes } = this.#idle
    this.#screen.line(`idle edge process: ${residentMegabytes.toFixed(1)} MB resident (bound 75 MB)`)
    this.#screen.line(`edge start to listening: ${(listenMs / 1000).toFixed(2)} s (bound 0.70 s)`)
    this.#screen.line(isFine ? 'Nothing was lost.' : 'NOT OK: see the table.')
    return isFine
  }

  explain(): void {
    const { tcp, cloud } = this.#ports
    this.#screen.line(`
Everything still runs. In another terminal:
  npx tidegate sub -p ${cloud} -v -t 'g/#'                     what arrives at the cloud
  npx tidegate pub -p ${tcp} -t hello -m world -q 1             a message of your own, at the edge
  mosquitto_sub -h 127.0.0.1 -p ${tcp} -v -t 'device/#'         the devices, at the edge
  tail -f ${join(this.#folder, 'edge.log')}
  kill -9 ${this.#edge?.pid}                                        the edge, as a power cut would
Ctrl-C ends it all.`)
  }

  waitForInterrupt(): Promise<never> {
    return new Promise(() => setInterval(() => this.#update(), 60_000))
  }

  async close(): Promise<void> {
    for (const sensor of this.#sensors) await sensor.close()
    await this.#subscriber?.close()
    await this.#edge?.stop()
    await this.#proxy?.close()
    await this.#cloud?.stop()
  }

  #plan(id: string, index: number) {
    const readingCount = (productionMs / 1000) * ratePerSecond
    return { id, ratePerSecond, readingCount, seed: this.#seed * 100 + index }
  }

  #write(name: string, text: string): string {
    const path = join(this.#folder, name)
    writeFileSync(path, text)
    return path
  }

  #onArrival(topic: string, payload: string): void {
    const reading = readingOf(payload)
    const sensor = this.#sensors.find(({ account }) => account.id === reading?.device)
    if (reading === undefined || sensor === undefined || !topic.startsWith(`g/${gateway}/device/${reading.device}/`)) {
      this.#screen.event(`unexpected message on ${topic}`)
      return
    }
    sensor.account.arrive(reading.n, Date.now() - reading.t)
  }

  #update(): void {
    for (const sensor of this.#sensors) sensor.update()
  }

  #showProgress(): void {
    this.#update()
    const sum = (count: (sensor: Sensor) => number) => this.#sensors.reduce((total, sensor) => total + count(sensor), 0)
    const produced = sum(({ account }) => account.producedCount)
    const acknowledged = sum(({ account }) => account.acknowledged.size)
    const arrived = sum(({ account }) => account.arrivedCount)
    const connected = sum((sensor) => Number(sensor.isConnected))
    this.#screen.progress(
      `${connected}/${this.#sensors.length} connected   produced ${produced}   acknowledged ${acknowledged}   arrived ${arrived}`,
    )
  }

  #blackHole(): void {
    this.#proxy?.setFault({ kind: 'blackhole' })
    this.#screen.event(`uplink: black hole for ${blackHoleMs / 1000} s, bytes vanish without a word`)
  }

  #restoreUplink(): void {
    this.#proxy?.setFault({ kind: 'pass' })
    this.#screen.event('uplink: the network works again')
  }

  async #killEdge(downMs: number): Promise<void> {
    await this.#edge?.kill()
    this.#screen.event(`edge: SIGKILL, starts again in ${(downMs / 1000).toFixed(1)} s`)
    await wait(downMs)
    await this.#edge?.start()
    this.#screen.event('edge: runs again')
  }

  async #unplug(index: number): Promise<void> {
    await this.#serials[index]?.pty.unplug()
    this.#screen.event(`${serialIds[index]}: unplugged`)
  }

  async #replug(index: number): Promise<void> {
    await this.#serials[index]?.pty.plug()
    this.#screen.event(`${serialIds[index]}: plugged in again`)
  }

  async #settle(): Promise<void> {
    const untilMs = performance.now() + settleMsMax
    while (performance.now() < untilMs) {
      this.#update()
      if (this.#sensors.every((sensor) => sensor.isDone && sensor.account.isSettled)) return
      await wait(100)
    }
    this.#screen.event('not everything was acknowledged and arrived in time')
  }
}
