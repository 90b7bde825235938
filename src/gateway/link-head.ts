/**
 * The serial link on a port (serial-link.ts): presents every conversation with the device to the broker as a
 * connection. At most one is open; the old one is closed before the next is presented. A device that the settings do
 * not name gets its conversation, and nobody listens to it.
 */
import { Failure } from '../lib/errors.ts'
import type { Clock, ClockQuality } from '../ports/clock.ts'
import type { Random } from '../ports/random.ts'
import type { Link, LinkOwner } from '../ports/transport.ts'
import type { LinkHello } from './link-hello.ts'
import type { HeadCounters, PortHead, PortSide } from './port-head.ts'
import type { PortReport } from './port-report.ts'
import { SerialConnection } from './serial-connection.ts'
import { type DownReason, SerialLink } from './serial-link.ts'

export interface LinkHeadSettings {
  readonly path: string
  readonly baudRate: number
  readonly baudRateMax: number | undefined
  /** Empty: every device is let in. */
  readonly deviceIds: readonly string[]
  /** Of the device, on a bus. */
  readonly address?: number
}

/** The port of a head that is on a bus hears what kind of frame is written. */
export interface LinkPortSide extends Omit<PortSide, 'write'> {
  write(bytes: Buffer, type: number): void
}

export interface LinkHeadParts {
  readonly port: LinkPortSide
  accept(link: Link): LinkOwner
  readonly clock: Clock
  readonly random: Random
  readonly report: PortReport
  readonly clockQuality: (() => ClockQuality) | undefined
}

export class LinkHead implements PortHead {
  readonly #settings: LinkHeadSettings
  readonly #parts: LinkHeadParts
  readonly #remote: string
  readonly #link: SerialLink
  #connection: SerialConnection | undefined
  #peer: LinkHello | undefined
  /** The unknown device that was last complained about. */
  #unknownId: string | undefined

  constructor(settings: LinkHeadSettings, parts: LinkHeadParts) {
    this.#settings = settings
    this.#parts = parts
    const { port, clock, random, clockQuality } = parts
    const { address } = settings
    this.#remote = address === undefined ? settings.path : `${settings.path} address ${address}`
    const owner = {
      write: (bytes: Buffer, type: number) => port.write(bytes, type),
      onUp: (peer: LinkHello) => this.#onUp(peer),
      onBytes: (chunk: Buffer) => this.#connection?.onBytes(chunk),
      onDrain: () => this.#connection?.onDrain(),
      onDown: (reason: DownReason) => this.#onDown(reason),
      onLog: (text: Buffer) => port.onLog(text),
    }
    this.#link = new SerialLink('host', settings.baudRate, owner, clock, random, {
      address,
      baudRateMax: settings.baudRateMax,
      changeRate: (baudRate) => port.changeRate(baudRate),
      ...(clockQuality === undefined ? {} : { clockQuality }),
    })
  }

  get counters(): HeadCounters {
    return { ...this.#link.counters, droppedCount: 0 }
  }

  get facts(): Readonly<Record<string, string | number>> {
    const peer = this.#peer
    if (peer === undefined) return {}
    return {
      deviceId: peer.deviceId,
      firmware: peer.firmware,
      resetReason: peer.resetReason,
      bootId: peer.bootId.toString(16).padStart(8, '0'),
      baudRate: this.#link.baudRate,
      roundTripP50Ms: this.#link.roundTrips.percentileMs(0.5),
      roundTripP99Ms: this.#link.roundTrips.percentileMs(0.99),
    }
  }

  open(): void {
    this.#link.open()
  }

  receive(chunk: Buffer): void {
    this.#link.receive(chunk)
  }

  /** What a bus does with it, in place of `receive`. */
  get link(): SerialLink {
    return this.#link
  }

  close(failure: Failure | undefined): void {
    this.#link.close()
    this.#closeConnection(failure)
  }

  leave(): void {
    this.#link.leave()
  }

  #onUp(peer: LinkHello): void {
    const { deviceIds } = this.#settings
    const { clock, port, report } = this.#parts
    this.#peer = peer
    this.#closeConnection(undefined)
    if (deviceIds.length > 0 && !deviceIds.includes(peer.deviceId)) {
      this.#refuse(peer)
      return
    }
    const { deviceId, firmware, resetReason } = peer
    report.line('info', { deviceId, firmware, resetReason }, 'serial link up')
    const connection = new SerialConnection(this.#remote, this.#link, clock)
    this.#connection = connection
    connection.bind(this.#parts.accept(connection))
    port.onState('up')
  }

  #refuse({ deviceId, firmware }: LinkHello): void {
    const { port, report } = this.#parts
    port.onState('quarantined')
    if (this.#unknownId === deviceId) return
    this.#unknownId = deviceId
    report.line('warn', { deviceId, firmware }, 'unknown serial device, not let in: see device_ids')
  }

  #onDown(reason: DownReason): void {
    this.#parts.report.line('info', { reason }, 'serial link down')
    this.#closeConnection(new Failure('ERR_LINK_CLOSED', `${this.#remote}: ${reason}`))
    if (reason !== 'peer restarted' && reason !== 'peer began anew') this.#parts.port.onState('silent')
  }

  #closeConnection(failure: Failure | undefined): void {
    const connection = this.#connection
    this.#connection = undefined
    connection?.onClosed(failure)
  }
}
