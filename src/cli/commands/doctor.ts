/** `tidegate doctor`: what the settings promise, how long that lasts, and whether the machine lets it. */
import type { Command } from 'commander'
import { loadSettingsApart } from '../../config/load-apart.ts'
import type { Profile } from '../../config/option.ts'
import { type Settings, safestDurability } from '../../config/settings.ts'
import type { Finding } from '../doctor/finding.ts'
import { complainOf, print } from '../output.ts'

interface DoctorOptions {
  readonly config?: string
  readonly cloud?: true
  readonly json?: true
}

const help = `
Example:
  tidegate doctor --config configs/edge.toml

Works with and without a running broker. Exit code 1 when something will not work.`

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('say what survives a crash and a power cut, how long a gateway can be offline, and what is wrong here')
    .option('--config <file>', 'settings in TOML (default: built in)')
    .option('--cloud', 'the settings are those of a cloud broker')
    .option('--json', 'print JSON')
    .addHelpText('after', help)
    .action(doctor)
}

async function doctor({ config, cloud, json }: DoctorOptions): Promise<void> {
  const profile: Profile = cloud ? 'cloud' : 'edge'
  const loaded = await loadSettingsApart(profile, config, process.env)
  if (!loaded.ok) {
    for (const failure of loaded.error) complainOf(failure)
    process.exitCode = 2
    return
  }
  const findings = await examine(loaded.value, Date.now())
  if (json) print(JSON.stringify(findings, null, 2))
  else for (const { topic, state, text } of findings) print(`${marks[state]}  ${topic.padEnd(12)}  ${text}`)
  if (findings.some(({ state }) => state === 'fail')) process.exitCode = 1
}

const marks = { ok: 'ok  ', note: '    ', warn: 'WARN', fail: 'FAIL' } as const

/** Rates for which the doctor calculates when no broker can tell its own. */
const usualRates = [1, 10, 100]

async function examine(settings: Settings, wallMs: number): Promise<Finding[]> {
  const { endurance, expectedWear, survival, wear } = await import('../doctor/promises.ts')
  const { examineRunning, usualBytes } = await import('../doctor/running.ts')
  const machine = await import('../doctor/machine.ts')
  const running = await examineRunning(settings.dataDir)
  const disk = machine.examineDisk(settings)
  const isKept = safestDurability(settings) !== 'ram'
  const lasting: Finding[] = []
  if (running?.traffic !== undefined) {
    const { traffic, bytesPerDay } = running
    lasting.push(endurance(settings, traffic, disk.freeBytes))
    const expected = expectedWear(traffic, settings.store)
    if (isKept && bytesPerDay !== undefined) lasting.push(wear(bytesPerDay, true))
    else if (isKept) lasting.push(wear(expected.bytesPerDay, false, expected.waitMs))
  } else {
    for (const perSecond of usualRates) {
      const traffic = { perSecond, bytesEach: usualBytes }
      lasting.push(endurance(settings, traffic, disk.freeBytes))
      const { bytesPerDay, waitMs } = expectedWear(traffic, settings.store)
      if (isKept) lasting.push(wear(bytesPerDay, false, waitMs))
    }
  }
  return [
    { topic: 'broker', state: 'note', text: running === undefined ? 'none runs with this data_dir' : 'it runs' },
    ...(running?.findings ?? []),
    ...survival(settings),
    ...lasting,
    ...disk.findings,
    ...machine.examineClock(wallMs),
    ...machine.examineSerials(settings),
    ...machine.examineCertificates(settings, wallMs),
  ]
}
