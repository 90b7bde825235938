/**
 * What is measured and what is hoped for. A figure of Tidegate is compared with the same figure of mosquitto in the
 * same run, because figures of one machine mean little on another; those of MQTT 5 also with those of 3.1.1.
 */
import type { Carrier } from './brokers.ts'

export type Figure =
  | 'messagesPerSecond'
  | 'cpuUsPerMessage'
  | 'p50Us'
  | 'p99Us'
  | 'connectsPerSecond'
  | 'kbPerConnection'
  | 'bytesPerSubscription'

export interface Workload {
  readonly name: string
  readonly carrier: Carrier
  /** Arguments of load.c. */
  readonly load: readonly string[]
  /** What of it is printed, each with the goal that Tidegate has. */
  readonly figures: Readonly<Partial<Record<Figure, Goal>>>
  readonly connectionCount: number
  /** For what takes minutes: no more runs than these. */
  readonly runsMax?: number
  /** The workload that this one repeats under other circumstances. */
  readonly repeats?: string
}

/**
 * Of the ratio to mosquitto, of the ratio to the workload that is repeated, or of the figure itself. With neither
 * bound the figure is only shown.
 */
export interface Goal {
  readonly of: 'ratio' | 'repeated' | 'figure'
  readonly min?: number
  readonly max?: number
}

const floods: readonly Workload[] = [
  flood('pairs qos0', 12, '-k pair -P 10 -S 10 -q 0 -s 64 -w 500'),
  flood('pairs qos1', 12, '-k pair -P 10 -S 10 -q 1 -s 64 -w 50'),
  flood('pairs qos2', 10, '-k pair -P 10 -S 10 -q 2 -s 64 -w 50'),
  flood('fan-out 100', 18, '-k fanout -P 1 -S 100 -q 0 -s 64 -w 100'),
  flood('fan-in 100', 9, '-k fanin -P 100 -S 1 -q 0 -s 64 -w 100'),
  flood('pairs 1 KB', 7, '-k pair -P 10 -S 10 -q 0 -s 1024 -w 100'),
]

export const workloads: readonly Workload[] = [
  ...floods,
  ...floods.map(withMqtt5),
  { ...flood('pairs qos0 tls', 5, '-k pair -P 10 -S 10 -q 0 -s 64 -w 500'), carrier: 'tls' },
  { ...flood('pairs qos1 tls', undefined, '-k pair -P 10 -S 10 -q 1 -s 64 -w 50'), carrier: 'tls' },
  { ...flood('pairs qos0 ws', undefined, '-k pair -P 10 -S 10 -q 0 -s 64 -w 500'), carrier: 'ws' },
  { ...flood('pairs qos1 ws', undefined, '-k pair -P 10 -S 10 -q 1 -s 64 -w 50'), carrier: 'ws' },
  {
    ...flood('1M filters', 0, '-k pair -P 10 -S 10 -q 0 -s 64 -w 500 -f 1000000 -l 60'),
    figures: { messagesPerSecond: { of: 'repeated', min: 0.7 }, bytesPerSubscription: { of: 'ratio' } },
    runsMax: 1,
    repeats: 'pairs qos0',
  },
  {
    ...flood('1k changes/s', 0, '-k pair -P 10 -S 10 -q 0 -s 64 -w 500 -u 1000'),
    figures: { messagesPerSecond: { of: 'repeated', min: 0.7 } },
    repeats: 'pairs qos0',
  },
  {
    name: 'steady 20k/s',
    carrier: 'tcp',
    load: '-k pair -P 100 -S 100 -q 0 -s 64 -w 0 -r 20000'.split(' '),
    figures: { cpuUsPerMessage: { of: 'ratio', max: 1.2 }, p99Us: { of: 'ratio', max: 2 } },
    connectionCount: 200,
  },
  {
    name: 'idle 10k',
    carrier: 'tcp',
    load: '-k idle -P 0 -S 10000 -t 2'.split(' '),
    figures: { kbPerConnection: { of: 'figure', max: 6 }, connectsPerSecond: { of: 'ratio', min: 0.5 } },
    connectionCount: 10_000,
  },
]

function flood(name: string, ratioMin: number | undefined, load: string): Workload {
  return {
    name,
    carrier: 'tcp',
    load: load.split(' '),
    figures: { messagesPerSecond: ratioMin === undefined ? { of: 'ratio' } : { of: 'ratio', min: ratioMin } },
    connectionCount: 200,
  }
}

function withMqtt5(workload: Workload): Workload {
  return {
    ...workload,
    name: `${workload.name} v5`,
    load: [...workload.load, '-v', '5'],
    figures: { messagesPerSecond: { of: 'repeated', min: 0.85 } },
    repeats: workload.name,
  }
}
