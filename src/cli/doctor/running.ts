/** What a running broker says of itself, for the doctor. */
import { readFileSync } from 'node:fs'
import { Failure } from '../../lib/errors.ts'
import type { AlarmList } from '../../ports/alarms.ts'
import { askBroker } from '../control-client.ts'
import type { Finding } from './finding.ts'
import type { Traffic } from './promises.ts'

/** Of the answer to `/status` (node/control.ts). */
interface Status {
  readonly pid: number
  readonly uptime_seconds: number
  readonly messages: { readonly stored: number; readonly lost: number }
  readonly store: { readonly messages: number; readonly bytes: number }
}

export interface Running {
  readonly findings: readonly Finding[]
  /** undefined when it has stored too little to say. */
  readonly traffic: Traffic | undefined
  /** What the process has written on average; undefined when that is not known. */
  readonly bytesPerDay: number | undefined
}

/** So much must have been stored, in so much time, before a rate is taken from it. */
const storedMin = 100
const uptimeSecondsMin = 60

/** undefined when no broker runs with this data directory. */
export async function examineRunning(dataDir: string): Promise<Running | undefined> {
  let status: Status
  let alarms: AlarmList
  try {
    status = (await askBroker(dataDir, 'GET', '/status')) as Status
    alarms = (await askBroker(dataDir, 'GET', '/alarms')) as AlarmList
  } catch (error) {
    if (error instanceof Failure && error.code === 'ERR_NO_BROKER') return undefined
    throw error
  }
  const { messages, store, uptime_seconds: uptime, pid } = status
  const findings: Finding[] = alarms.active.map(({ name, message }) => ({
    topic: 'alarm',
    state: 'fail',
    text: `${name}: ${message}`,
  }))
  if (messages.lost > 0) {
    const text = `${messages.lost} acknowledged messages were dropped on purpose: tidegate ctl loss says which`
    findings.push({ topic: 'loss', state: 'warn', text })
  }
  const isTelling = messages.stored >= storedMin && uptime >= uptimeSecondsMin
  const bytesEach = store.messages === 0 ? usualBytes : store.bytes / store.messages
  return {
    findings,
    traffic: isTelling ? { perSecond: messages.stored / uptime, bytesEach } : undefined,
    bytesPerDay: isTelling ? writtenPerDay(pid, uptime) : undefined,
  }
}

/** When nothing waits there is nothing to measure. */
export const usualBytes = 180

function writtenPerDay(pid: number, uptimeSeconds: number): number | undefined {
  try {
    const written = /^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]
    return written === undefined ? undefined : (Number(written) / uptimeSeconds) * 86_400
  } catch {
    return undefined
  }
}
