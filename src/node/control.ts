/** The control socket of a node and what every broker answers there. */

import { dirname } from 'node:path'
import { packageVersion } from '../adapters/system/version.ts'
import { ControlSocket } from '../admin/control-socket.ts'
import type { AdminRoute } from '../admin/route.ts'
import type { Bridge } from '../bridge/bridge.ts'
import type { Fleet } from '../bridge/fleet.ts'
import { paceOf } from '../bridge/paces.ts'
import type { Broker } from '../broker/broker.ts'
import type { Settings } from '../config/settings.ts'
import type { SerialListener } from '../gateway/serial-listener.ts'
import { Failure } from '../lib/errors.ts'
import { err, ok, type Result } from '../lib/result.ts'
import type { Log } from '../ports/log.ts'
import type { Store } from '../ports/store.ts'
import type { BridgeSet } from './bridges.ts'

/** Those that are due next; more would be more than a person reads. */
const toldDelaysMax = 1000

/** Undefined when it cannot be opened: a broker that cannot be asked is better than none. */
export async function openControl(
  { dataDir }: Settings,
  routes: readonly AdminRoute[],
  log: Log,
): Promise<ControlSocket | undefined> {
  try {
    const socket = await ControlSocket.open(dataDir, routes)
    if (dirname(socket.path) !== dataDir)
      log.warn({ path: socket.path }, 'control socket outside of the data directory')
    return socket
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
  readonly bridges: BridgeSet
  /** undefined where no gateways come up to. */
  readonly fleet: Fleet | undefined
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
    { method: 'GET', path: '/bridge', answer: () => ok(parts.bridges.all.map(({ status }) => status)) },
    { method: 'GET', path: '/gateways', answer: () => ok(parts.fleet?.gateways ?? []) },
    { method: 'POST', path: '/pace/*', answer: ({ rest, body }) => setPace(parts.fleet, rest, body) },
    { method: 'POST', path: '/maintenance', answer: ({ body }) => setMaintenance(parts.bridges.all, body) },
    {
      method: 'POST',
      path: '/maintenance/*',
      answer: ({ rest, body }) => setMaintenanceBelow(parts.fleet, rest, body),
    },
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

const paceMax = 1_000_000

/** @param gateway `all` = every one of them @param body `{"rate":100}`, 0 = as fast as they like */
function setPace(fleet: Fleet | undefined, gateway: string, body: unknown): Result<unknown, Failure> {
  const rate = (body as { rate?: unknown } | undefined)?.rate
  if (typeof rate !== 'number' || !(rate >= 0 && rate <= paceMax)) {
    return refusal(`the rate is messages per second, 0 to ${paceMax}`)
  }
  const known = knownGateway(fleet, gateway)
  if (!known.ok) return known
  known.value.setPace(gateway === 'all' ? undefined : gateway, rate === 0 ? undefined : paceOf(rate))
  return ok(known.value.gateways)
}

/** @param body `{"minutes":90}`, 0 = it is over; without minutes until then */
function setMaintenance(bridges: readonly Bridge[], body: unknown): Result<unknown, Failure> {
  if (bridges.length === 0) return refusal('this broker has no [[bridge]], so there is nobody to tell of maintenance')
  const minutes = minutesOf(body)
  if (minutes === undefined) return refusal(minutesWanted)
  for (const bridge of bridges) bridge.setMaintenance(minutes)
  return ok({ minutes: Number.isFinite(minutes) ? minutes : null })
}

/** The same for a gateway below this broker. @param gateway `all` = every one of them */
function setMaintenanceBelow(fleet: Fleet | undefined, gateway: string, body: unknown): Result<unknown, Failure> {
  const minutes = minutesOf(body)
  if (minutes === undefined) return refusal(minutesWanted)
  const known = knownGateway(fleet, gateway)
  if (!known.ok) return known
  known.value.setMaintenance(gateway === 'all' ? undefined : gateway, minutes)
  return ok(known.value.gateways)
}

const minutesWanted = 'minutes is a number, 0 = maintenance is over'

function minutesOf(body: unknown): number | undefined {
  // What is no number comes as null, and must not be taken for none.
  const { minutes = Number.POSITIVE_INFINITY } = (body ?? {}) as { minutes?: unknown }
  return typeof minutes === 'number' && minutes >= 0 ? minutes : undefined
}

/** The fleet, if `gateway` is one of it, or `all`. */
function knownGateway(fleet: Fleet | undefined, gateway: string): Result<Fleet, Failure> {
  if (fleet === undefined) return refusal('no listener of this broker has gateways = true')
  const known = fleet.gateways.map((entry) => entry.gateway)
  if (gateway === 'all' || known.includes(gateway)) return ok(fleet)
  return refusal(`no gateway ${gateway} was ever here; known: ${known.join(', ') || 'none'}`)
}

function refusal(why: string): Result<never, Failure> {
  return err(new Failure('ERR_CONTROL_REFUSED', why))
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
