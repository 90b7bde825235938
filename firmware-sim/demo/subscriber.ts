/** Somebody at the cloud who is not us: `mosquitto_sub` where it is installed, else MQTT.js. */
import { spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import mqtt from 'mqtt'

export interface Subscriber {
  readonly name: string
  close(): Promise<void>
}

const subscribeMsMax = 5000

type OnMessage = (topic: string, payload: string) => void

/** Resolves once it is subscribed to `filter` with QoS 1. */
export async function subscribe(port: number, filter: string, onMessage: OnMessage): Promise<Subscriber> {
  const isInstalled = spawnSync('mosquitto_sub', ['--help']).error === undefined
  return isInstalled ? withMosquitto(port, filter, onMessage) : withMqttJs(port, filter, onMessage)
}

async function withMosquitto(port: number, filter: string, onMessage: OnMessage): Promise<Subscriber> {
  const connection = ['-h', '127.0.0.1', '-p', String(port), '-i', 'demo-watcher']
  const subscription = ['-t', filter, '-q', '1', '-d', '-F', '> %t %p']
  // Its output is a pipe here, and without stdbuf it would come in blocks.
  const command = ['-oL', 'mosquitto_sub', ...connection, ...subscription]
  const child = spawn('stdbuf', command, { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('mosquitto_sub was not subscribed in time')), subscribeMsMax)
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`mosquitto_sub ended with ${code}`)))
    lines.on('line', (line) => {
      if (line.includes('received SUBACK')) {
        clearTimeout(timer)
        resolve()
      }
      if (!line.startsWith('> ')) return
      const space = line.indexOf(' ', 2)
      onMessage(line.slice(2, space), line.slice(space + 1))
    })
  })
  return {
    name: 'mosquitto_sub',
    close: async () => {
      child.kill()
      lines.close()
    },
  }
}

async function withMqttJs(port: number, filter: string, onMessage: OnMessage): Promise<Subscriber> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { clientId: 'demo-watcher' })
  client.on('message', (topic, payload) => onMessage(topic, payload.toString()))
  await client.subscribeAsync(filter, { qos: 1 })
  return { name: 'MQTT.js', close: () => client.endAsync(true) }
}
