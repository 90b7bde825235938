/** Which protocol is spoken on a port, by its settings. */
import type { Clock, ClockQuality } from '../ports/clock.ts'
import type { Random } from '../ports/random.ts'
import type { Link, LinkOwner } from '../ports/transport.ts'
import { AdapterHead } from './adapter-head.ts'
import { TextLines } from './lines/text-lines.ts'
import { topicVariables } from './lines/topic-template.ts'
import { LinkBus } from './link-bus.ts'
import { LinkHead } from './link-head.ts'
import type { PortHead, PortSide } from './port-head.ts'
import type { PortReport } from './port-report.ts'
import { RawHead } from './raw-head.ts'

/** `link`: MQTT in the reliable link; `raw`: MQTT as it is; `lines`: text, and the gateway is the MQTT client. */
export type PortProtocol = 'link' | 'raw' | 'lines'

export interface LineSettings {
  readonly topic: string
  readonly down: readonly string[]
  readonly downLine: string | undefined
  readonly willTopic: string | undefined
  readonly lineBytesMax: number
  readonly idleFlushMs: number
  readonly checksum: boolean
}

export interface HeadSettings {
  readonly name: string
  readonly path: string
  readonly baudRate: number
  readonly baudRateMax: number | undefined
  readonly protocol: PortProtocol
  readonly deviceIds: readonly string[]
  /** Of the devices on a bus; empty: one device without an address. */
  readonly addresses: readonly number[]
  readonly lines: LineSettings
}

export interface HeadParts {
  readonly port: PortSide
  accept(link: Link): LinkOwner
  readonly clock: Clock
  readonly random: Random
  readonly report: PortReport
  readonly clockQuality: (() => ClockQuality) | undefined
}

export const lineDefaults: LineSettings = {
  topic: 'dev/{name}/{key}',
  down: [],
  downLine: undefined,
  willTopic: undefined,
  lineBytesMax: 1024,
  idleFlushMs: 0,
  checksum: false,
}

/** Filters that a device may add by itself. */
const filtersMax = 32

export function makeHead(settings: HeadSettings, parts: HeadParts): PortHead {
  switch (settings.protocol) {
    case 'link':
      return settings.addresses.length > 0 ? new LinkBus(settings, parts) : new LinkHead(settings, parts)
    case 'raw':
      return new RawHead(settings.path, parts)
    case 'lines': {
      const { lines, name, path } = settings
      const hasKeys = topicVariables(lines.topic).includes('key')
      return new AdapterHead(
        { ...lines, name, path, filtersMax },
        { ...parts, adapter: new TextLines({ ...lines, hasKeys }) },
      )
    }
  }
}
