/** The five devices of the demo behind one face: serial ones with firmware of ours, TCP ones with MQTT.js. */
import { join } from 'node:path'
import mqtt, { type MqttClient } from 'mqtt'
import { Account } from '../oracle/account.ts'
import { PtyPair } from '../pty.ts'
import { WiredDevice } from '../wired-device.ts'

export interface Sensor {
  readonly account: Account
  readonly isConnected: boolean
  /** Every reading was taken and acknowledged. */
  readonly isDone: boolean
  start(): void
  /** Copies what the device counts into `account`. */
  update(): void
  close(): Promise<void>
}

export interface SensorPlan {
  readonly id: string
  readonly ratePerSecond: number
  readonly readingCount: number
  readonly seed: number
}

const baudRate = 115_200

export class SerialSensor implements Sensor {
  readonly account: Account
  readonly pty: PtyPair
  readonly #wired: WiredDevice

  private constructor(plan: SensorPlan, pty: PtyPair) {
    this.account = new Account(plan.id)
    this.pty = pty
    this.#wired = new WiredDevice({ ...plan, baudRate }, { path: pty.devicePath, seed: plan.seed })
  }

  /** Plugged in, but not switched on. */
  static async plugIn(plan: SensorPlan, folder: string): Promise<SerialSensor> {
    const pty = new PtyPair(serialPath(folder, plan.id), join(folder, `${plan.id}.device`))
    await pty.plug()
    return new SerialSensor(plan, pty)
  }

  get isConnected(): boolean {
    return this.#wired.device.isConnected
  }

  get isDone(): boolean {
    return this.#wired.device.isDone
  }

  start(): void {
    this.#wired.start()
  }

  update(): void {
    const { account } = this
    const { device } = this.#wired
    account.producedCount = device.producedCount
    for (const n of device.acknowledged) account.acknowledged.add(n)
    for (const n of device.resent) account.resent.add(n)
  }

  async close(): Promise<void> {
    this.#wired.close()
    await this.pty.unplug()
  }
}

/** Where the gateway finds the device. */
export function serialPath(folder: string, id: string): string {
  return join(folder, `tty-${id}`)
}

export class TcpSensor implements Sensor {
  readonly account: Account
  readonly #plan: SensorPlan
  readonly #port: number
  #client: MqttClient | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(plan: SensorPlan, port: number) {
    this.account = new Account(plan.id)
    this.#plan = plan
    this.#port = port
  }

  get isConnected(): boolean {
    return this.#client?.connected ?? false
  }

  get isDone(): boolean {
    const { account } = this
    return account.producedCount >= this.#plan.readingCount && account.acknowledged.size === account.producedCount
  }

  start(): void {
    const { id, ratePerSecond, readingCount } = this.#plan
    const client = mqtt.connect(`mqtt://127.0.0.1:${this.#port}`, {
      clientId: id,
      clean: false,
      reconnectPeriod: 500,
      keepalive: 10,
    })
    this.#client = client
    client.on('error', () => {
      // It tries again by itself.
    })
    const sent = new Set<number>()
    client.on('packetsend', (packet) => {
      const n = packet.cmd === 'publish' ? readingOf(packet.payload.toString())?.n : undefined
      if (n === undefined) return
      if (sent.has(n)) this.account.resent.add(n)
      sent.add(n)
    })
    const startedAtMs = performance.now()
    this.#timer = setInterval(() => {
      const due = Math.min(readingCount, Math.floor(((performance.now() - startedAtMs) / 1000) * ratePerSecond))
      while (this.account.producedCount < due) this.#publish(++this.account.producedCount)
    }, 20)
  }

  update(): void {
    // MQTT.js tells at once what becomes of a reading.
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#client?.endAsync(true)
  }

  #publish(n: number): void {
    const { id } = this.#plan
    const payload = JSON.stringify({ device: id, n, t: Date.now() })
    this.#client?.publish(`device/${id}/reading`, payload, { qos: 1 }, (error) => {
      if (!error) this.account.acknowledged.add(n)
    })
  }
}

/** The payload of a reading, whichever device made it. */
export function readingOf(payload: string): { device: string; n: number; t: number } | undefined {
  try {
    const { device, n, t } = JSON.parse(payload) as Record<string, unknown>
    if (typeof device === 'string' && typeof n === 'number' && typeof t === 'number') return { device, n, t }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  return undefined
}
