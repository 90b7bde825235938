/** `tidegate edge`: the broker on a gateway. */
import type { Command } from 'commander'
import { addBrokerCommand } from '../broker-command.ts'

export function addEdge(program: Command): void {
  addBrokerCommand(program, {
    profile: 'edge',
    summary: 'run the broker of a gateway: serial devices and local clients, bridged up',
    example: '  tidegate edge --config configs/edge.toml',
    root: async () => (await import('../../../edge/main.ts')).runEdge,
  })
}
