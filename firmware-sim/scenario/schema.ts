/**
 * A scenario: which devices there are, what happens to them and when, and what has to hold in the end. One file in
 * TOML; README.md lists the settings. The same file with the same seed makes the same devices do the same.
 */
import { z } from 'zod'
import { TRANSPORTS } from '../fleet/station.ts'
import { HEADS } from '../heads/make-head.ts'

const count = (lowest: number, highest = 1_000_000_000) => z.number().int().min(lowest).max(highest)
/** As many as there are addresses. */
const busDevicesMax = 127
const share = z.number().min(0).max(1)
const name = z.string().regex(/^[A-Za-z0-9_-]{1,40}$/, 'expected letters, digits, _ and -')

const signal = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('sine'), mean: z.number(), amplitude: z.number(), period_ms: count(1) }),
  z.strictObject({ kind: z.literal('walk'), lowest: z.number(), highest: z.number(), step_max: z.number() }),
  z.strictObject({ kind: z.literal('step'), levels: z.array(z.number()).min(1), every_ms: count(1) }),
  z.strictObject({ kind: z.literal('replay'), file: z.string() }),
])

const group = z
  .strictObject({
    name,
    count: count(1, 10_000).default(1),
    head: z.enum(HEADS).default('link'),
    transport: z.enum(TRANSPORTS).optional(),
    /** All devices of the group on one pair of wires, with the addresses 1, 2 … */
    bus: z.boolean().default(false),
    baud_rate: count(50, 4_000_000).default(115_200),
    /** "max": as fast as the line takes them. */
    rate_per_second: z.union([z.number().positive().max(10_000), z.literal('max')]).default(1),
    payload_bytes: count(0, 65_536).default(0),
    mqtt_version: z.union([z.literal(4), z.literal(5)]).default(4),
    in_flight_max: count(1, 1000).optional(),
    frame_bytes: count(48, 2048).optional(),
    receive_ring_bytes: count(64, 65_536).optional(),
    claimed_bytes: count(64, 65_535).optional(),
    loop_ms: count(1, 1000).optional(),
    watchdog_ms: count(10).optional(),
    drift_ppm: z.number().min(-50_000).max(50_000).optional(),
    boot_baud_rate: count(50, 4_000_000).optional(),
    firmware: z.string().max(24).optional(),
    takes_commands: z.boolean().default(false),
    sleep: z.strictObject({ awake_ms: count(1), asleep_ms: count(1) }).optional(),
    signal: signal.optional(),
  })
  .transform((given, context) => {
    const transport = given.transport ?? (given.head === 'tcp' ? 'none' : 'pty')
    if ((given.head === 'tcp') !== (transport === 'none')) {
      context.addIssue({ code: 'custom', path: ['transport'], message: 'head "tcp" has transport "none", others not' })
    }
    if (given.bus && (given.head !== 'link' || given.count > busDevicesMax)) {
      const message = `expected head "link" and at most ${busDevicesMax} devices`
      context.addIssue({ code: 'custom', path: ['bus'], message })
    }
    return { ...given, transport }
  })

const when = { at_ms: count(0), for_ms: count(1).optional(), group: name.optional(), devices: count(1).optional() }
const lasting = { ...when, for_ms: count(1) }

const fault = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('bit-errors'), rate: share, ...when }),
  z.strictObject({ kind: z.literal('bursts'), rate: share, bytes: count(1, 10_000).default(16), ...when }),
  z.strictObject({ kind: z.literal('lost-bytes'), rate: share, ...when }),
  z.strictObject({ kind: z.literal('doubled-bytes'), rate: share, ...when }),
  z.strictObject({ kind: z.literal('garbage'), rate: share, ...when }),
  z.strictObject({ kind: z.literal('wrong-baud'), ratio: z.number().min(0.1).max(10), ...lasting }),
  z.strictObject({ kind: z.literal('break'), ...lasting }),
  z.strictObject({ kind: z.literal('silence'), ...lasting }),
  z.strictObject({ kind: z.literal('echo'), ...lasting }),
  z.strictObject({ kind: z.literal('brown-out'), ...when }),
  z.strictObject({ kind: z.literal('reset-loop'), every_ms: count(10), ...lasting }),
  z.strictObject({ kind: z.literal('hang'), ...when }),
  z.strictObject({ kind: z.literal('busy'), every_ms: count(1), busy_ms: count(1), ...lasting }),
  z.strictObject({ kind: z.literal('partial-line'), ...when }),
  z.strictObject({ kind: z.literal('giant-line'), bytes: count(1, 10_000_000).default(10_000), ...when }),
  z.strictObject({ kind: z.literal('unplug'), ...lasting }),
  z.strictObject({ kind: z.literal('replug-storm'), every_ms: count(100), ...lasting }),
  z.strictObject({ kind: z.literal('subscriber-away'), at_ms: count(0), for_ms: count(1) }),
  z.strictObject({ kind: z.literal('kill-broker'), at_ms: count(0), for_ms: count(1) }),
])

const phase = z.strictObject({ at_ms: count(0), group: name.optional(), rate_per_second: z.number().positive() })

const expectations = z.strictObject({
  lost: count(0).default(0),
  doubled: count(0).default(0),
  corrupted: count(0).default(0),
  in_order: z.boolean().default(true),
  drained_within_ms: count(1).default(15_000),
  delay_p99_ms_max: z.number().positive().optional(),
  /** By the broker, on purpose: they stand in its ledger. */
  dropped_max: count(0).default(0),
  explained_max: count(0).optional(),
  sent_again_max: count(0).optional(),
})

export const scenarioSchema = z
  .strictObject({
    name,
    about: z.string().optional(),
    seed: count(0, 0xffff_ffff).default(1),
    duration_ms: count(100),
    /** What the collector subscribes to. */
    filter: z.string().default('#'),
    /** Its session outlives a restart of the broker; then the broker stores every message before it delivers it. */
    durable_subscriber: z.boolean().default(true),
    /** More of the configuration of the edge that a run starts for itself, in TOML. */
    edge_settings: z.string().default(''),
    /** Devices start one after the other within this time. */
    start_within_ms: count(0).default(0),
    group: z.array(group).min(1),
    phase: z.array(phase).default([]),
    fault: z.array(fault).default([]),
    expect: expectations.prefault({}),
  })
  .superRefine((scenario, context) => {
    const names = scenario.group.map((one) => one.name)
    for (const [at, one] of names.entries()) {
      if (names.indexOf(one) !== at) {
        context.addIssue({ code: 'custom', path: ['group', at, 'name'], message: `there is another group "${one}"` })
      }
    }
    for (const list of ['phase', 'fault'] as const) {
      for (const [at, entry] of scenario[list].entries()) {
        const wanted = 'group' in entry ? entry.group : undefined
        if (wanted === undefined || names.includes(wanted)) continue
        const message = `there is no group "${wanted}", but ${names.map((one) => `"${one}"`).join(', ')}`
        context.addIssue({ code: 'custom', path: [list, at, 'group'], message })
      }
    }
  })

export type Scenario = z.output<typeof scenarioSchema>
export type Group = Scenario['group'][number]
export type Fault = Scenario['fault'][number]
export type Phase = Scenario['phase'][number]
