/** What most commands below `tidegate ctl` are: one question, and its answer for people or as JSON. */
import type { Command } from 'commander'
import { print } from '../output.ts'

export interface ControlOptions {
  readonly dataDir?: string
  readonly json?: true
}

/** A command that asks one thing and prints the answer, for people or as JSON. @param isDefault of several, the one meant */
export function question<Answer>(
  control: Command,
  name: string,
  summary: string,
  path: string,
  show: (answer: Answer) => void,
  isDefault = false,
): void {
  control
    .command(name, { isDefault })
    .description(summary)
    .option('--data-dir <directory>', 'data_dir of the broker (default: TIDEGATE_DATA_DIR, or where it usually is)')
    .option('--json', 'print JSON')
    .action(async ({ dataDir, json }: ControlOptions) => {
      const { askBroker, brokerDirectory } = await import('../control-client.ts')
      const answer = await askBroker(brokerDirectory(dataDir, process.env), 'GET', path)
      if (json) print(JSON.stringify(answer, null, 2))
      else show(answer as Answer)
    })
}
