/** The protocol heads by name. */
import type { DeviceClock } from '../clock.ts'
import type { SeededRandom } from '../seeded-random.ts'
import { DeviceLink } from '../serial-link.ts'
import { CLinkStream } from './c-link-stream.ts'
import type { Head, HeadOwner, Stream, StreamOwner } from './head.ts'
import { jsonLines, keyValue, plainJson } from './line-grammar.ts'
import { LinesHead } from './lines-head.ts'
import { MqttHead } from './mqtt-head.ts'
import { RawStream } from './raw-stream.ts'
import { TcpStream } from './tcp-stream.ts'

/**
 * `link`: MQTT in the serial link · `link-c`: the same with the link in C, a process for each device · `raw`: MQTT bytes on the wire · `tcp`: MQTT straight to a broker ·
 * `json-lines`: the arrays of serial2mqtt · `json`: an object for each reading · `kv`: `key:value` pairs
 */
export const HEADS = ['link', 'link-c', 'raw', 'json-lines', 'json', 'kv', 'tcp'] as const
export type HeadName = (typeof HEADS)[number]

export interface HeadOptions {
  /** MQTT client identifier and device id. */
  readonly id: string
  readonly baudRate: number
  readonly head?: HeadName | undefined
  readonly mqttVersion?: 4 | 5 | undefined
  readonly inFlightMax?: number | undefined
  /** Longest frame of the link, which is what the firmware has memory for. */
  readonly frameBytes?: number | undefined
  /** Bytes of the receive ring of the UART, which is what the gateway may send ahead. */
  readonly receiveRingBytes?: number | undefined
  /** What the gateway is told that it may send ahead, where that is not the truth. */
  readonly claimedBytes?: number | undefined
  /** Of the board, where several share the wires. */
  readonly address?: number | undefined
  /** Of the broker that a `tcp` device talks to. */
  readonly broker?: { readonly host: string; readonly port: number } | undefined
}

export interface HeadParts {
  readonly clock: DeviceClock
  readonly random: SeededRandom
  readonly firmware: () => string
  readonly write: (bytes: Buffer) => void
  readonly bufferedByteCount: () => number
}

export function makeHead(options: HeadOptions, parts: HeadParts, owner: HeadOwner): Head {
  const { id: clientId, mqttVersion: version, inFlightMax } = options
  const mqtt = (makeStream: (owner: StreamOwner) => Stream) =>
    new MqttHead({ clientId, version, inFlightMax }, makeStream, parts.clock, owner)
  switch (options.head ?? 'link') {
    case 'link':
      return mqtt((streamOwner) => makeLink(options, parts, streamOwner))
    case 'link-c': {
      const { id, baudRate } = options
      return mqtt((streamOwner) => new CLinkStream({ ...parts, id, baudRate }, streamOwner))
    }
    case 'raw':
      return mqtt((streamOwner) => new RawStream(parts.write, parts.clock, streamOwner))
    case 'json-lines':
      return new LinesHead(jsonLines, parts, parts.clock, owner)
    case 'json':
      return new LinesHead(plainJson, parts, parts.clock, owner)
    case 'kv':
      return new LinesHead(keyValue, parts, parts.clock, owner)
    case 'tcp': {
      const { broker = { host: '127.0.0.1', port: 1883 } } = options
      return mqtt((streamOwner) => new TcpStream(broker, parts.clock, streamOwner))
    }
  }
}

function makeLink(options: HeadOptions, parts: HeadParts, owner: StreamOwner): DeviceLink {
  const { id, baudRate, frameBytes, receiveRingBytes, claimedBytes: receiveBytes = receiveRingBytes } = options
  const { clock, random, write, firmware } = parts
  const extras = { frameBytes, receiveBytes, firmware, address: options.address }
  return new DeviceLink(id, baudRate, { ...owner, write }, clock, random, extras)
}
