/**
 * An adapter (lines/adapter.ts) on a port. The first piece that makes sense opens a connection to the broker on behalf
 * of the device; when the device falls silent, or its line goes, the connection is lost and the broker fires the will.
 */
import { Failure } from '../lib/errors.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Link, LinkOwner } from '../ports/transport.ts'
import { Publish } from '../protocol/packets/publish.ts'
import { reasonName } from '../protocol/reason.ts'
import { isValidTopicFilter, isValidTopicName } from '../protocol/topic.ts'
import { LineClient } from './line-client.ts'
import type { AdapterFault, Decoded, SerialAdapter } from './lines/adapter.ts'
import { fillTopic } from './lines/topic-template.ts'
import type { HeadCounters, PortHead, PortSide } from './port-head.ts'
import type { PortReport } from './port-report.ts'
import { SilenceWatch } from './silence-watch.ts'

export interface AdapterHeadSettings {
  readonly name: string
  readonly path: string
  /** Where readings without a topic go: `dev/{name}/{key}`; `{port}` is the name of the port. */
  readonly topic: string
  /** Filters that are subscribed for the device, with `{name}` and `{port}`. */
  readonly down: readonly string[]
  /** Gets `online` and, as will, `offline`, both retained; undefined = none */
  readonly willTopic: string | undefined
  /** A unit without an end is whole after this time; 0 = never */
  readonly idleFlushMs: number
  /** Filters that the device itself may add. */
  readonly filtersMax: number
}

export interface AdapterHeadParts {
  readonly adapter: SerialAdapter
  readonly port: PortSide
  accept(link: Link): LinkOwner
  readonly clock: Clock
  readonly report: PortReport
}

const topicBytesMax = 65_535

export class AdapterHead implements PortHead {
  readonly facts = {}
  readonly #settings: AdapterHeadSettings
  readonly #parts: AdapterHeadParts
  readonly #silence: SilenceWatch
  #client: LineClient | undefined
  /** What the device asked for itself; asked for again with each connection. */
  readonly #ownFilters = new Set<string>()
  readonly #faults: Record<AdapterFault, number> = { overlong: 0, garbage: 0, checksum: 0, grammar: 0 }
  #unitCount = 0
  #resetCount = 0
  #droppedCount = 0
  #idleTimer: Timer | undefined
  #lastChunkMs = 0
  #refusals = new Set<string>()

  constructor(settings: AdapterHeadSettings, parts: AdapterHeadParts) {
    this.#settings = settings
    this.#parts = parts
    this.#silence = new SilenceWatch(parts.clock, () => this.#onSilent())
  }

  get counters(): HeadCounters {
    const { overlong, garbage, checksum, grammar } = this.#faults
    return {
      unitCount: this.#unitCount,
      crcErrorCount: checksum + grammar,
      cobsErrorCount: garbage,
      oversizeCount: overlong,
      retransmitCount: 0,
      timeoutCount: 0,
      resetCount: this.#resetCount,
      droppedCount: this.#droppedCount + (this.#client?.droppedCount ?? 0),
    }
  }

  open(): void {
    this.#parts.adapter.clear()
    this.#ownFilters.clear()
  }

  receive(chunk: Buffer): void {
    this.#take(this.#parts.adapter.decode(chunk))
    const { idleFlushMs } = this.#settings
    if (idleFlushMs === 0) return
    this.#lastChunkMs = this.#parts.clock.nowMs()
    this.#idleTimer ??= this.#parts.clock.after(idleFlushMs, () => this.#onIdle())
  }

  close(failure: Failure | undefined): void {
    this.#idleTimer?.cancel()
    this.#idleTimer = undefined
    this.#silence.stop()
    this.#lose(failure)
  }

  leave(): void {
    this.#client?.leave()
  }

  #onIdle(): void {
    const { clock, adapter } = this.#parts
    const leftMs = this.#lastChunkMs + this.#settings.idleFlushMs - clock.nowMs()
    this.#idleTimer = leftMs > 0 ? clock.after(leftMs, () => this.#onIdle()) : undefined
    if (leftMs <= 0) this.#take(adapter.idle())
  }

  #take(units: readonly Decoded[]): void {
    for (const unit of units) {
      if (unit.kind === 'fault') this.#faults[unit.fault]++
      else this.#onUnit(unit)
    }
  }

  #onUnit(unit: Exclude<Decoded, { kind: 'fault' }>): void {
    this.#unitCount++
    this.#silence.heard()
    const client = this.#ensureClient()
    switch (unit.kind) {
      case 'log':
        this.#parts.port.onLog(unit.text)
        return
      case 'subscribe':
        this.#subscribe(client, unit.topicFilter)
        return
      case 'value': {
        const topic = fillTopic(this.#settings.topic, { ...this.#names, ...unit.variables })
        if (topic === undefined) this.#faults.grammar++
        else this.#publish(client, topic, { payload: unit.payload })
        return
      }
      case 'message':
        this.#publish(client, unit.topic, unit)
        return
    }
  }

  #publish(client: LineClient, topic: string, message: Omit<Parameters<typeof Publish.create>[0], 'topic'>): void {
    if (topic === '' || !isValidTopicName(topic) || Buffer.byteLength(topic) > topicBytesMax) this.#faults.grammar++
    else client.publish(Publish.create({ ...message, topic }))
  }

  #subscribe(client: LineClient, topicFilter: string): void {
    if (this.#ownFilters.has(topicFilter)) return // Sketches say it again and again.
    if (!isValidTopicFilter(topicFilter) || this.#ownFilters.size >= this.#settings.filtersMax) {
      this.#faults.grammar++
      return
    }
    this.#ownFilters.add(topicFilter)
    client.subscribe(topicFilter)
  }

  #ensureClient(): LineClient {
    if (this.#client !== undefined) return this.#client
    const { clock, port, report } = this.#parts
    const { name, path, down } = this.#settings
    const client: LineClient = new LineClient(
      { clientId: `serial-${name}`, remote: path, will: this.#will('offline') },
      {
        onMessage: (message) => this.#onMessage(message),
        onRefused: (what, reasonCode) => {
          const reason = reasonName(reasonCode)
          const complaint = `${what} ${reason}`
          if (!this.#refusals.has(complaint))
            report.line('warn', { what, reason }, 'serial device refused by the broker')
          this.#refusals.add(complaint)
        },
        onClosed: () => {
          if (this.#client === client) this.#forget(client)
        },
      },
      clock,
    )
    this.#client = client
    this.#resetCount++
    client.bind(this.#parts.accept(client))
    for (const filter of down) {
      const topicFilter = fillTopic(filter, this.#names)
      if (topicFilter !== undefined) client.subscribe(topicFilter)
    }
    for (const filter of this.#ownFilters) client.subscribe(filter)
    const online = this.#will('online')
    if (online !== undefined) client.publish(Publish.create(online))
    report.line('info', {}, 'serial device talks')
    port.onState('up')
    return client
  }

  #onMessage(message: Publish): void {
    const line = this.#parts.adapter.encode(message.topic, message.payload, message.qos, message.retain)
    if (line === undefined) this.#droppedCount++
    else this.#parts.port.write(line)
  }

  #onSilent(): void {
    const { path } = this.#settings
    this.#parts.report.line('info', {}, 'serial device fell silent')
    this.#lose(new Failure('ERR_LINK_CLOSED', `${path}: silence`))
    this.#parts.port.onState('silent')
  }

  #lose(failure: Failure | undefined): void {
    const client = this.#client
    if (client === undefined) return
    this.#forget(client)
    client.lose(failure)
  }

  #forget(client: LineClient): void {
    this.#droppedCount += client.droppedCount
    this.#client = undefined
  }

  #will(
    word: 'online' | 'offline',
  ): { topic: string; payload: Buffer; qos: 1; retain: true; properties: undefined } | undefined {
    const { willTopic } = this.#settings
    const topic = willTopic === undefined ? undefined : fillTopic(willTopic, this.#names)
    return topic === undefined
      ? undefined
      : { topic, payload: Buffer.from(word), qos: 1, retain: true, properties: undefined }
  }

  get #names(): Readonly<Record<string, string>> {
    const { name } = this.#settings
    return { name, port: name }
  }
}
