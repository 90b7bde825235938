/** How `pub` and `sub` reach a broker, with the flags of mosquitto_pub and mosquitto_sub where those have one. */
import { readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import type { IClientOptions, MqttClient } from 'mqtt'
import { describeError } from '../adapters/net/network-error.ts'
import { Failure } from '../lib/errors.ts'
import type { Qos } from '../protocol/packet.ts'
import { reasonName } from '../protocol/reason.ts'

export interface ClientOptions {
  readonly host: string
  readonly port?: number
  readonly id?: string
  readonly protocolVersion: 4 | 5
  readonly cafile?: string
  readonly cert?: string
  readonly key?: string
}

export function addClientOptions(command: Command): Command {
  return (
    command
      // -h is the host here, as everywhere in MQTT.
      .helpOption('--help', 'show this help')
      .option('-h, --host <host>', 'broker', 'localhost')
      .option('-p, --port <port>', 'default: 1883, or 8883 with TLS', wholeNumber(1, 65_535))
      .option('-i, --id <id>', 'client identifier (default: a new one)')
      .option('-V, --protocol-version <version>', 'MQTT version: 4 (3.1.1) or 5', protocolVersion, 5)
      .option('--ca, --cafile <file>', 'TLS: CA of the broker, in PEM')
      .option('--cert <file>', 'TLS: certificate to show, in PEM')
      .option('--key <file>', 'TLS: its private key, in PEM')
  )
}

/** Ends the command with what the broker, or the way to it, said. */
export type Refuse = (reason: string) => never

/**
 * Connects, lets `use` have the client, and disconnects. Rejects with a Failure.
 * @param reconnectMs pause before connecting again after the first time; 0 = never
 */
export async function withClient(
  options: ClientOptions,
  reconnectMs: number,
  use: (client: MqttClient, refuse: Refuse) => Promise<void>,
): Promise<void> {
  const url = brokerUrl(options)
  const refuse: Refuse = (reason) => {
    throw new Failure('ERR_DIAL', `${url}: ${reason}`)
  }
  const tls = { ...readPem('ca', options.cafile), ...readPem('cert', options.cert), ...readPem('key', options.key) }
  const { connect } = await import('mqtt')
  const client = connect(url, {
    ...tls,
    ...(options.id === undefined ? {} : { clientId: options.id }),
    protocolVersion: options.protocolVersion,
    reconnectPeriod: reconnectMs,
    connectTimeout: 10_000,
  })
  try {
    const trouble = await Promise.race([opened(client), closed(client)])
    if (trouble !== undefined) refuse(trouble)
    await use(client, refuse)
    await client.endAsync()
  } catch (error) {
    client.end(true)
    throw error
  }
}

function opened(client: MqttClient): Promise<undefined> {
  return new Promise((resolve) => client.once('connect', () => resolve(undefined)))
}

/** Why the connection ended, in words, once it does. */
export function closed(client: MqttClient): Promise<string> {
  return new Promise((resolve) => {
    // Stays, because an error that nobody listens for ends the process.
    client.on('error', (error) => resolve(describeError(firstOf(error))))
    client.once('disconnect', ({ reasonCode = 0 }) => resolve(`ended the connection: ${reasonName(reasonCode)}`))
    client.once('close', () => resolve('closed the connection'))
  })
}

/** `tls://cloud.example:8883` */
function brokerUrl({ host, port, cafile, cert }: ClientOptions): string {
  const isTls = cafile !== undefined || cert !== undefined
  const name = host.includes(':') ? `[${host}]` : host
  return `${isTls ? 'tls' : 'tcp'}://${name}:${port ?? (isTls ? 8883 : 1883)}`
}

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`Expected a whole number ${min}..${max}.`)
  }
}

export function qos(text: string): Qos {
  return wholeNumber(0, 2)(text) as Qos
}

function protocolVersion(text: string): 4 | 5 {
  if (/^(4|311|mqttv311)$/.test(text)) return 4
  if (/^(5|mqttv5)$/.test(text)) return 5
  throw new InvalidArgumentError('Expected 4 or 5.')
}

/** A name with several addresses fails with one error for each. */
function firstOf(error: unknown): unknown {
  return error instanceof AggregateError ? (error.errors[0] ?? error) : error
}

function readPem(key: 'ca' | 'cert' | 'key', file: string | undefined): IClientOptions {
  if (file === undefined) return {}
  try {
    return { [key]: readFileSync(file) }
  } catch (error) {
    throw new Failure('ERR_CERTIFICATE', `${file}: ${describeError(error)}`, error)
  }
}
