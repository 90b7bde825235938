/** What `tidegate edge` and `tidegate cloud` have in common: settings first, then the composition root. */
import type { Command } from 'commander'
import { loadSettingsApart } from '../config/load-apart.ts'
import type { Profile } from '../config/option.ts'
import { complainOf, print } from './output.ts'
import type { StartBroker } from './run.ts'

export interface BrokerCommand {
  readonly profile: Profile
  readonly summary: string
  readonly example: string
  /** Loads the composition root. */
  readonly root: () => Promise<StartBroker>
}

export function addBrokerCommand(program: Command, command: BrokerCommand): void {
  const { profile, summary, example, root } = command
  program
    .command(profile)
    .description(summary)
    .option('--config <file>', `settings in TOML, such as configs/${profile}.toml (default: built in)`)
    .option('--check', 'only say whether the settings are fine')
    .addHelpText('after', `\nExample:\n${example}\nEvery setting: configs/reference.md`)
    .action(async (options: { config?: string; check?: true }) => {
      const load = () => loadSettingsApart(profile, options.config, process.env)
      const loading = load()
      // Both take a while, on a thread each.
      const parts = options.check ? undefined : loadParts(root)
      const loaded = await loading
      if (!loaded.ok) {
        for (const failure of loaded.error) complainOf(failure)
        process.exitCode = 2
      } else if (parts === undefined) {
        print(`${options.config ?? 'the defaults'}: settings are fine`)
      } else {
        const { start, run, createLog } = await parts
        await run(start, loaded.value, createLog(loaded.value.log.level), load)
      }
    })
}

async function loadParts(root: () => Promise<StartBroker>) {
  const [start, { run }, { createLog }] = await Promise.all([
    root(),
    import('./run.ts'),
    import('../adapters/log-pino/log.ts'),
  ])
  return { start, run, createLog }
}
