/** `tidegate ctl`: asks the broker that runs on this machine. */
import type { Command } from 'commander'
import type { AlarmList } from '../../ports/alarms.ts'
import type { DelayedEntry } from '../../ports/delays.ts'
import type { LossRecord } from '../../ports/ledger.ts'
import { print } from '../output.ts'
import { localTime, table } from '../table.ts'
import { printBridges } from './ctl-bridge.ts'
import { addMaintenance } from './ctl-maintenance.ts'
import { addPace } from './ctl-pace.ts'
import { type ControlOptions, question } from './ctl-question.ts'
import { printPorts } from './ctl-serial.ts'

const help = `
Example:
  tidegate ctl status
  tidegate ctl loss --json
  tidegate ctl alarms --data-dir /var/lib/tidegate`

export function addControl(program: Command): void {
  const control = program
    .command('ctl')
    .description('ask the broker that runs on this machine')
    .addHelpText('after', help)
  question(control, 'status', 'how it fares: clients, messages, store', '/status', printStatus)
  question(control, 'loss', 'acknowledged messages that were dropped on purpose, and why', '/loss', printLoss)
  addDelayed(control)
  question(control, 'bridge', 'how the bridges are: health, what waits, for how long', '/bridge', printBridges)
  question(control, 'serial', 'the serial ports: who is there, what came damaged, how busy', '/serial', printPorts)
  addPace(control)
  addMaintenance(control)
  question(control, 'alarms', 'what is wrong at present, and what was', '/alarms', printAlarms)
}

function addDelayed(control: Command): void {
  const delayed = control.command('delayed').description('messages that wait for their time')
  question(delayed, 'list', 'those that are due next; meant when nothing is said', '/delayed', printDelayed, true)
  delayed
    .command('cancel <id>')
    .description('drop one of them; its id is in the list')
    .option('--data-dir <directory>', 'data_dir of the broker (default: TIDEGATE_DATA_DIR, or where it usually is)')
    .action(async (id: string, { dataDir }: ControlOptions) => {
      const { askBroker, brokerDirectory } = await import('../control-client.ts')
      const path = `/delayed/${encodeURIComponent(id)}`
      const { cancelled } = (await askBroker(brokerDirectory(dataDir, process.env), 'DELETE', path)) as {
        cancelled: boolean
      }
      print(cancelled ? `${id} is cancelled` : `nothing waits under ${id}`)
    })
}

function printDelayed(entries: readonly DelayedEntry[]): void {
  if (entries.length === 0) {
    print('nothing waits')
    return
  }
  const rows = entries.map((entry) => [
    String(entry.id),
    `${Math.ceil(entry.remainingSeconds)} s`,
    entry.topic,
    String(entry.qos),
    entry.retain ? 'yes' : 'no',
    entry.clientId,
    String(entry.payloadByteCount),
  ])
  table(['ID', 'DUE IN', 'TOPIC', 'QOS', 'RETAIN', 'CLIENT', 'BYTES'], rows)
}

function printStatus(status: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(status)) {
    if (value !== null && typeof value === 'object') {
      print(name)
      for (const [inner, each] of Object.entries(value)) print(`  ${inner.padEnd(22)}${each}`)
    } else {
      print(`${name.padEnd(24)}${value}`)
    }
  }
}

interface Losses {
  readonly count: number
  readonly records: readonly LossRecord[]
}

function printLoss({ count, records }: Losses): void {
  if (records.length === 0) {
    print('nothing was dropped')
    return
  }
  const rows = records.map((record) => [
    localTime(record.untilMs),
    record.reason,
    record.scope,
    String(record.lane),
    record.firstSeq === 0 ? 'unknown' : `${record.firstSeq}..${record.lastSeq}`,
    record.count === undefined ? 'at most the range' : String(record.count),
  ])
  table(['LAST', 'REASON', 'SESSION', 'LANE', 'SEQ', 'MESSAGES'], rows)
  print(`${count} messages`)
}

function printAlarms({ active, ended }: AlarmList): void {
  if (active.length === 0) print('no alarm is active')
  const rows = [...active, ...ended].map((alarm) => [
    alarm.endedAtMs === undefined ? 'active' : 'over',
    localTime(alarm.startedAtMs),
    alarm.endedAtMs === undefined ? '' : localTime(alarm.endedAtMs),
    alarm.name,
    alarm.message,
  ])
  if (rows.length > 0) table(['STATE', 'SINCE', 'UNTIL', 'ALARM', 'MESSAGE'], rows)
}
