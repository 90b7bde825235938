/** The edge broker that a run starts for itself when it is given no other: the built command, its files in one folder. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BrokerProcess } from '../demo/broker-process.ts'
import type { ScenarioRun } from '../fleet/scenario-run.ts'
import type { HeadName } from '../heads/make-head.ts'

export class OwnEdge {
  readonly url: string
  readonly logPath: string
  readonly #broker: BrokerProcess

  /** @param more of its configuration, in TOML */
  constructor(folder: string, port: number, more: string) {
    const config = join(folder, 'edge.toml')
    this.url = `mqtt://127.0.0.1:${port}`
    this.logPath = join(folder, 'edge.log')
    const head = `name = "sim"\ndata_dir = "${folder}/data"\n\n[[listener]]\ntype = "tcp"\nbind = "127.0.0.1:${port}"\n`
    writeFileSync(config, `${head}${more}`)
    this.#broker = new BrokerProcess('edge', config, this.logPath, port)
  }

  get pid(): number {
    return this.#broker.pid
  }

  residentMegabytes(): number {
    return this.#broker.residentMegabytes()
  }

  async start(): Promise<void> {
    await this.#broker.start()
  }

  async kill(): Promise<void> {
    await this.#broker.kill()
  }

  async stop(): Promise<void> {
    await this.#broker.stop()
  }
}

/** The `[[serial]]` blocks with which a gateway reaches the devices of a run. */
export function serialBlocks(run: ScenarioRun): string {
  return run.fleets
    .flatMap(({ group, members }) => {
      const addresses = `addresses = [${members.map((_, at) => at + 1).join(', ')}]\n`
      const ports = group.bus ? members.slice(0, 1) : members
      return ports.map(({ id, station }) => {
        if (station.address === undefined) return ''
        const name = group.bus ? group.name : id
        const rate = group.baud_rate === 115_200 ? '' : `baud_rate = ${group.baud_rate}\n`
        const more = group.bus ? addresses : protocolLine(group.head)
        return `\n[[serial]]\nname = "${name}"\npath = "${station.address}"\n${rate}${more}`
      })
    })
    .join('')
}

/** Readings without a topic of their own go out whole, so that their digest can be checked. */
function protocolLine(head: HeadName): string {
  if (head === 'raw') return 'protocol = "raw"\n'
  if (head === 'json-lines') return 'protocol = "lines"\n'
  return head === 'json' || head === 'kv' ? 'protocol = "lines"\ntopic = "dev/{name}/reading"\n' : ''
}
