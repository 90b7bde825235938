/** `tidegate cloud`: the broker that gateways bridge up to. */
import type { Command } from 'commander'
import { addBrokerCommand } from '../broker-command.ts'

export function addCloud(program: Command): void {
  addBrokerCommand(program, {
    profile: 'cloud',
    summary: 'run the broker that gateways bridge up to',
    example: '  tidegate cloud --config configs/cloud.toml',
    root: async () => (await import('../../../cloud/main.ts')).runCloud,
  })
}
