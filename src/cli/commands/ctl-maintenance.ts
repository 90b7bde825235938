/** `tidegate ctl maintenance`: somebody works on this gateway, or at the broker above: on one below. */
import type { Command } from 'commander'
import { print } from '../output.ts'

const help = `
Example, at the gateway:
  tidegate ctl maintenance 90
  tidegate ctl maintenance
  tidegate ctl maintenance 0
Example, at the broker above:
  tidegate ctl maintenance plant-7 90
  tidegate ctl maintenance plant-7 0`

export function addMaintenance(control: Command): void {
  control
    .command('maintenance [gateway] [minutes]')
    .description(
      'this gateway, or one below this broker, or all, is worked on, and its loss is no alarm; without minutes until it is ended, 0 ends it',
    )
    .option('--data-dir <directory>', 'data_dir of the broker (default: TIDEGATE_DATA_DIR, or where it usually is)')
    .addHelpText('after', help)
    .action(async (first: string | undefined, second: string | undefined, options: { readonly dataDir?: string }) => {
      const { askBroker, brokerDirectory } = await import('../control-client.ts')
      const isHere = first === undefined || (second === undefined && /^[\d.]+$/.test(first))
      const minutes = isHere ? first : second
      const path = isHere ? '/maintenance' : `/maintenance/${encodeURIComponent(first)}`
      const body = minutes === undefined ? {} : { minutes: Number(minutes) }
      await askBroker(brokerDirectory(options.dataDir, process.env), 'POST', path, body)
      const of = isHere ? '' : ` of ${first}`
      if (body.minutes === 0) print(`maintenance${of} is over`)
      else print(`maintenance${of}${minutes === undefined ? ', until it is ended' : ` for ${minutes} minutes`}`)
    })
}
