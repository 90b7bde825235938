/** The control socket of a node and what every broker answers there. */

import { packageVersion } from '../adapters/system/version.ts'
import { ControlSocket } from '../admin/control-socket.ts'
import type { AdminRoute } from '../admin/route.ts'
import type { Bridge } from '../bridge/bridge.ts'
import type { Broker } from '../broker/broker.ts'
import type { Settings } from '../config/settings.ts'
import type { SerialListener } from '../gateway/serial-listener.ts'
import { Failure } from '../lib/errors.ts'
import { err, ok } from '../lib/result.ts'
import type { Log } from '../ports/log.ts'
import type { Store } from '../ports/store.ts'

/** Those that are due next; more would be more than a person reads. */
const toldDelaysMax = 1000

/** Undefined when it cannot be opened: a broker that cannot be asked is better than none. */
export async function openControl(
  { dataDir }: Settings,
  routes: readonly AdminRoute[],
  log: Log,
): Promise<ControlSocket | undefined> {
  try {
    return await ControlSocket.open(dataDir, routes)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    log.warn({ err: error.line }, 'no control socket, tidegate ctl will not work')
    return undefined
  }
}

export interface AskedParts {
  readonly settings: Settings
  readonly broker: Broker
  readonly store: Store
  readonly bridges: readonly Bridge[]
}

export function brokerRoutes(parts: AskedParts): AdminRoute[] {
  const { broker } = parts
  return [
    { method: 'GET', path: '/status', answer: () => ok(status(parts)) },
    { method: 'GET', path: '/loss', answer: () => ok(broker.losses) },
    { method: 'GET', path: '/delayed', answer: () => ok(broker.delays.list(toldDelaysMax)) },
    {
      method: 'DELETE',
      path: '/delayed/*',
      answer: ({ rest }) => ok({ cancelled: broker.delays.cancel(Number(rest)) }),
    },
    { method: 'GET', path: '/bridge', answer: () => ok(parts.bridges.map(({ status }) => status)) },
    { method: 'GET', path: '/alarms', answer: () => ok(broker.alarms.list) },
  ]
}

/** The serial ports, and what passes on one of them: `?after=` is what the answer before called `next`. */
export function serialRoutes(serials: readonly SerialListener[]): AdminRoute[] {
  return [
    { method: 'GET', path: '/serial', answer: () => ok(serials.map(({ told }) => told)) },
    {
      method: 'GET',
      path: '/serial/*',
      answer: ({ rest, query }) => {
        const port = serials.find(({ name }) => name === rest)
        if (port === undefined) return err(new Failure('ERR_SERIAL_NAME', rest))
        return ok(port.tap.read(Number(query.get('after') ?? 0) || 0))
      },
    },
  ]
}

function status({ settings, broker, store }: AskedParts): object {
  const { counters } = broker
  const { log } = store
  return {
    name: settings.name,
    version: packageVersion(),
    pid: process.pid,
    uptime_seconds: Math.floor(process.uptime()),
    memory_bytes: process.memoryUsage.rss(),
    alarms: broker.alarms.list.active.length,
    connections: counters.connectionCount,
    sessions: counters.sessionCount,
    messages: {
      received: counters.receivedMessages,
      sent: counters.sentMessages,
      stored: counters.storedMessages,
      dropped: counters.droppedMessages,
      lost: broker.losses.count,
    },
    store: {
      durability: settings.store.durability,
      writable: store.isWritable,
      messages: log.messageCount,
      bytes: log.byteCount,
      first_seq: log.firstSeq,
      last_seq: log.lastSeq,
      durable_seq: log.durableSeq,
      commits: store.durableTicket,
    },
  }
}
