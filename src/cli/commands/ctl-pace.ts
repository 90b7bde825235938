/** `tidegate ctl gateways` and `ctl pace`: who comes up to this broker, and how fast they may send what waits. */
import type { Command } from 'commander'
import { print } from '../output.ts'
import { table } from '../table.ts'
import { question } from './ctl-question.ts'

interface Gateway {
  readonly gateway: string
  readonly state: string
  readonly pace?: { readonly rate: number }
}

const paceHelp = `
Example:
  tidegate ctl pace plant-7 200
  tidegate ctl pace all 50
  tidegate ctl pace all 0`

export function addPace(control: Command): void {
  question(control, 'gateways', 'which gateways come up to this broker, and their pace', '/gateways', printGateways)
  control
    .command('pace <gateway> <rate>')
    .description('how many messages per second a gateway, or all, may send up; 0 = as many as they like')
    .option('--data-dir <directory>', 'data_dir of the broker (default: TIDEGATE_DATA_DIR, or where it usually is)')
    .addHelpText('after', paceHelp)
    .action(async (gateway: string, rate: string, { dataDir }: { readonly dataDir?: string }) => {
      const { askBroker, brokerDirectory } = await import('../control-client.ts')
      const path = `/pace/${encodeURIComponent(gateway)}`
      printGateways(
        (await askBroker(brokerDirectory(dataDir, process.env), 'POST', path, { rate: Number(rate) })) as Gateway[],
      )
    })
}

function printGateways(gateways: readonly Gateway[]): void {
  if (gateways.length === 0) {
    print('no gateway was ever here')
    return
  }
  const rows = gateways.map(({ gateway, state, pace }) => [
    gateway,
    state,
    pace === undefined ? 'free' : `${pace.rate}/s`,
  ])
  table(['GATEWAY', 'STATE', 'PACE'], rows)
}
