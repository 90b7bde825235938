/** `tidegate ctl maintenance`: tells the brokers above that somebody works on this gateway. */
import type { Command } from 'commander'
import { print } from '../output.ts'

const help = `
Example:
  tidegate ctl maintenance 90
  tidegate ctl maintenance
  tidegate ctl maintenance 0`

export function addMaintenance(control: Command): void {
  control
    .command('maintenance [minutes]')
    .description(
      'this gateway is worked on, and its loss is no alarm above; without minutes until it is ended, 0 ends it',
    )
    .option('--data-dir <directory>', 'data_dir of the broker (default: TIDEGATE_DATA_DIR, or where it usually is)')
    .addHelpText('after', help)
    .action(async (minutes: string | undefined, { dataDir }: { readonly dataDir?: string }) => {
      const { askBroker, brokerDirectory } = await import('../control-client.ts')
      const body = minutes === undefined ? {} : { minutes: Number(minutes) }
      await askBroker(brokerDirectory(dataDir, process.env), 'POST', '/maintenance', body)
      if (body.minutes === 0) print('maintenance is over')
      else print(minutes === undefined ? 'maintenance, until it is ended' : `maintenance for ${minutes} minutes`)
    })
}
