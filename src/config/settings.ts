/**
 * Settings as the program uses them: names in camelCase, file names absolute, and every default that depends on
 * another setting worked out.
 */
import { hostname } from 'node:os'
import { basename, dirname, resolve } from 'node:path'
import type { z } from 'zod'
import { type Address, type HostAndPort, isEncrypted, isLocal, type SocketPath } from './address.ts'
import { type CamelCased, camelCased } from './camel-case.ts'
import { type Durability, durabilities } from './durability.ts'
import type { SettingsSchema } from './schema.ts'
import { bytesShares, type LaneName } from './sections/lane.ts'

/** What the schema lets through, with the keys of TOML. */
export type Parsed = z.output<SettingsSchema>
export type ParsedListener = Parsed['listener'][number]
export type ParsedLane = Parsed['lane'][LaneName]
export type ParsedBridge = Parsed['bridge'][number]

type Plain = Pick<CamelCased<Parsed>, 'log' | 'mqtt' | 'store' | 'delayed' | 'queue' | 'topic' | 'sys'>

export interface Settings extends Plain {
  /** Letters, digits, `.`, `-` and `_`: fit for client ids and topics. */
  readonly name: string
  readonly authentication: {
    /** Absolute name of the file; undefined = none */
    readonly scramUsers: string | undefined
  }
  /** Absolute. Need not exist. */
  readonly dataDir: string
  readonly lane: Readonly<Record<LaneName, LaneSettings>>
  readonly listeners: readonly ListenerSettings[]
  readonly serials: readonly SerialLineSettings[]
  readonly bridges: readonly BridgeSettings[]
}

export interface LaneSettings {
  readonly bytesMax: number
  readonly countMax: number
  /** undefined = no limit */
  readonly ageSecondsMax: number | undefined
  readonly whenFull: ParsedLane['when_full']
  readonly durability: Durability
}

export interface ListenerSettings {
  readonly type: ParsedListener['type']
  /** The name of a socket is absolute. */
  readonly bind: HostAndPort | SocketPath
  /** undefined = without TLS */
  readonly tls: ListenerTls | undefined
  /** Path of the URL; undefined = without WebSocket */
  readonly webSocketPath: string | undefined
  readonly allowAnonymous: boolean
  /** May hold `{identity}`. */
  readonly mountpoint: string | undefined
  readonly gateways: boolean
  readonly proxyProtocol: boolean
  readonly limits: ListenerLimits
}

/** undefined = no limit */
export interface ListenerLimits {
  readonly connectionCountMax: number | undefined
  readonly connectsPerSecondMax: number | undefined
  /** Of each client. */
  readonly messagesPerSecondMax: number | undefined
  readonly bytesPerSecondMax: number | undefined
}

export interface ListenerTls {
  /** `auto`: a development CA and certificates under the data directory, made when they are absent. */
  readonly files: TlsFiles | 'auto'
  readonly clientCertificate: 'required' | 'none'
}

/** Absolute names of PEM files that could be read when the settings were loaded. */
export interface TlsFiles {
  readonly certificate: string
  readonly privateKey: string
  readonly ca: string | undefined
}

export interface SerialLineSettings {
  readonly protocol: Parsed['serial'][number]['protocol']
  /** Empty = all are let in */
  readonly deviceIds: readonly string[]
  /** Of whole topics; undefined = all */
  readonly access: {
    readonly publish: readonly string[] | undefined
    readonly subscribe: readonly string[] | undefined
  }
  readonly byteRateMax: number | undefined
  readonly messageRateMax: number | undefined
  readonly lines: SerialLines
  readonly name: string
  readonly path: string
  readonly baudRate: number
  /** undefined = the rate does not change */
  readonly baudRateMax: number | undefined
  /** Of the devices on a bus; empty = one device without an address */
  readonly addresses: readonly number[]
  readonly resetOnOpen: boolean
  /** undefined = none */
  readonly mountpoint: string | undefined
}

/** For devices that print lines. */
export interface SerialLines {
  readonly topic: string
  readonly down: readonly string[]
  readonly downLine: string | undefined
  readonly willTopic: string | undefined
  readonly lineBytesMax: number
  readonly idleFlushMs: number
  readonly checksum: boolean
}

export interface BridgeSettings extends Omit<CamelCased<ParsedBridge>, keyof BridgeFiles | Reshaped> {
  /** The preferred one first. */
  readonly addresses: readonly BridgeAddress[]
  readonly clientId: string
  /** With those that cross both ways. */
  readonly out: readonly CamelCased<ParsedBridge['out'][number]>[]
  readonly in: readonly CamelCased<ParsedBridge['in'][number]>[]
}

type Reshaped = 'address' | 'fallbackAddresses' | 'clientId' | 'out' | 'in'

export interface BridgeAddress extends Address {
  /** undefined = not encrypted */
  readonly tls: BridgeTls | undefined
}

type BridgeFiles = { ca: unknown; certificate: unknown; privateKey: unknown; serverName: unknown }

export interface BridgeTls {
  /** undefined = the CAs of the system */
  readonly ca: string | undefined
  /** What this gateway shows; undefined = nothing. */
  readonly client: { readonly certificate: string; readonly privateKey: string } | undefined
  readonly serverName: string
}

/** @param configPath what relative certificate files are relative to; undefined = the working directory */
export function toSettings(parsed: Parsed, configPath: string | undefined): Settings {
  const { name = hostname().replace(/[^\w.-]/g, '-'), log, mqtt, store, delayed, queue, lane, topic, sys } = parsed
  const folder = configPath === undefined ? '.' : dirname(configPath)
  const locate = (file: string) => resolve(folder, file)
  return {
    ...camelCased({ log, mqtt, store, delayed, queue, topic, sys }),
    lane: toLanes(lane, store),
    name,
    authentication: {
      scramUsers: parsed.authentication.scram_users && locate(parsed.authentication.scram_users),
    },
    dataDir: resolve(parsed.data_dir),
    listeners: parsed.listener.map((listener) => toListener(listener, locate)),
    serials: parsed.serial.map(toSerial),
    bridges: parsed.bridge.map((bridge) => toBridge(bridge, name, locate)),
  }
}

/** The safest that any message asks for: sessions are kept as safely, and with "ram" nothing is written at all. */
export function safestDurability({ lane, topic, store }: Pick<Settings, 'lane' | 'topic' | 'store'>): Durability {
  const used = [store, ...Object.values(lane), ...topic].map(({ durability }) => durability)
  return durabilities.find((each) => used.includes(each)) ?? 'ram'
}

export function serialName(serial: Parsed['serial'][number]): string {
  return serial.name ?? basename(serial.path).replace(/[^\w.-]/g, '-')
}

function toSerial(serial: Parsed['serial'][number]): SerialLineSettings {
  const { mountpoint } = serial
  const mounted = (filters: readonly string[] | undefined) => filters?.map((filter) => mountpoint + filter)
  return {
    name: serialName(serial),
    path: serial.path,
    baudRate: serial.baud_rate,
    baudRateMax: serial.baud_rate_max,
    addresses: serial.addresses,
    resetOnOpen: serial.reset_on_open,
    mountpoint: mountpoint === '' ? undefined : mountpoint,
    protocol: serial.protocol,
    deviceIds: serial.device_ids,
    access: { publish: mounted(serial.publish), subscribe: mounted(serial.subscribe) },
    byteRateMax: serial.byte_rate_max,
    messageRateMax: serial.message_rate_max,
    lines: {
      topic: serial.topic,
      down: serial.down,
      downLine: serial.down_line,
      willTopic: serial.will_topic,
      lineBytesMax: serial.line_bytes_max,
      idleFlushMs: serial.idle_flush_ms,
      checksum: serial.checksum,
    },
  }
}

/** With TLS a client shows a certificate unless told otherwise; without it there is none. */
export function clientCertificate(listener: ParsedListener): 'required' | 'none' {
  return listener.client_certificate ?? (hasTls(listener) ? 'required' : 'none')
}

/** Only programs of this machine reach it. A proxy of this machine may bring others. */
export function staysLocal({ bind, proxy_protocol }: ParsedListener): boolean {
  return isLocal(bind) && !proxy_protocol
}

export function hasTls({ type }: ParsedListener): boolean {
  return type === 'tls' || type === 'wss'
}

export function hasWebSocket({ type }: ParsedListener): boolean {
  return type === 'ws' || type === 'wss'
}

function toLanes(lane: Parsed['lane'], store: Parsed['store']): Record<LaneName, LaneSettings> {
  const toLane = (name: LaneName): LaneSettings => ({
    bytesMax: lane[name].bytes_max ?? Math.ceil(store.backlog_bytes_max * bytesShares[name]),
    countMax: lane[name].count_max ?? store.backlog_count_max,
    ageSecondsMax: lane[name].age_seconds_max,
    whenFull: lane[name].when_full,
    durability: lane[name].durability ?? store.durability,
  })
  return { control: toLane('control'), event: toLane('event'), telemetry: toLane('telemetry'), bulk: toLane('bulk') }
}

function toListener(listener: ParsedListener, locate: (file: string) => string): ListenerSettings {
  const { type, bind } = listener
  return {
    type,
    bind: 'path' in bind ? { path: resolve(bind.path) } : bind,
    tls: hasTls(listener)
      ? { files: toTlsFiles(listener, locate), clientCertificate: clientCertificate(listener) }
      : undefined,
    webSocketPath: hasWebSocket(listener) ? (listener.path ?? '/mqtt') : undefined,
    allowAnonymous: listener.allow_anonymous ?? staysLocal(listener),
    mountpoint: listener.mountpoint,
    gateways: listener.gateways,
    proxyProtocol: listener.proxy_protocol,
    limits: {
      connectionCountMax: listener.connection_count_max,
      connectsPerSecondMax: listener.connects_per_second_max,
      messagesPerSecondMax: listener.messages_per_second_max,
      bytesPerSecondMax: listener.bytes_per_second_max,
    },
  }
}

function toTlsFiles(listener: ParsedListener, locate: (file: string) => string): TlsFiles | 'auto' {
  const { certificate, private_key, ca } = listener
  if (certificate === undefined || private_key === undefined) return 'auto'
  return {
    certificate: locate(certificate),
    privateKey: locate(private_key),
    ca: ca === undefined ? undefined : locate(ca),
  }
}

function toBridge(bridge: ParsedBridge, nodeName: string, locate: (file: string) => string): BridgeSettings {
  const { ca, certificate, private_key, server_name, client_id, address, fallback_addresses, both, ...rest } = bridge
  const client =
    certificate === undefined || private_key === undefined
      ? undefined
      : { certificate: locate(certificate), privateKey: locate(private_key) }
  const plain = camelCased({ ...rest, both })
  return {
    ...plain,
    out: [...plain.out, ...plain.both],
    in: [...plain.in, ...plain.both],
    clientId: client_id ?? `edge-${nodeName}`,
    addresses: [address, ...fallback_addresses].map((one) => ({
      ...one,
      tls: isEncrypted(one)
        ? { ca: ca === undefined ? undefined : locate(ca), client, serverName: server_name ?? one.host }
        : undefined,
    })),
  }
}
