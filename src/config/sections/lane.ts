/**
 * `[lane.control]` to `[lane.bulk]`: how much of each kind of message may wait for clients and bridges that are away.
 * `[[topic]]`: which topics are of which kind.
 */
import { z } from 'zod'
import { durabilities } from '../durability.ts'
import { choice, option, optional, required, topicFilter, wholeNumber } from '../option.ts'

const gibibyte = 1024 ** 3

const laneNames = ['control', 'event', 'telemetry', 'bulk'] as const

export type LaneName = (typeof laneNames)[number]

/** Of `store.backlog_bytes_max`. */
export const bytesShares: Readonly<Record<LaneName, number>> = { control: 0.05, event: 1, telemetry: 0.5, bulk: 0.05 }

const whenFull = { control: 'refuse', event: 'drop_oldest', telemetry: 'drop_oldest', bulk: 'drop_newest' } as const

const about = {
  control: 'Commands, births, deaths, alarms: what a rule under [[topic]] puts here. Its room is set aside.',
  event: 'Messages with QoS 1 or 2 that no rule puts elsewhere.',
  telemetry: 'Messages with QoS 0 that have to be kept, and what a rule puts here.',
  bulk: 'Diagnostics, logs: what a rule puts here. The first to go when the backlog as a whole is full.',
} as const

export function laneSection() {
  return z.strictObject({
    control: option(laneTable('control'), {}, about.control),
    event: option(laneTable('event'), {}, about.event),
    telemetry: option(laneTable('telemetry'), {}, about.telemetry),
    bulk: option(laneTable('bulk'), {}, about.bulk),
  })
}

function laneTable(name: LaneName) {
  const share = bytesShares[name] * 100
  return z.strictObject({
    bytes_max: optional(
      wholeNumber(1, 1024 * gibibyte, 'bytes'),
      share === 100 ? 'store.backlog_bytes_max' : `${share} % of store.backlog_bytes_max`,
      name === 'control'
        ? 'Bytes of messages kept. They are set aside: other lanes together have what is left of store.backlog_bytes_max.'
        : 'Bytes of messages kept. All lanes together keep no more than store.backlog_bytes_max.',
    ),
    count_max: optional(wholeNumber(1, 1_000_000_000), 'store.backlog_count_max', 'The same as a number of messages.'),
    age_seconds_max: optional(
      wholeNumber(1, 3_153_600_000, 'seconds'),
      'no limit',
      'Messages that have waited longer are dropped and counted.',
    ),
    durability: optional(
      choice(durabilities),
      'store.durability',
      'What an acknowledged message of this lane survives: "disk" a power cut, "os" the end of the process, "ram" neither.',
    ),
    when_full: option(
      choice(['drop_oldest', 'drop_newest', 'refuse']),
      whenFull[name],
      'What goes when the lane is full: "drop_oldest" and "drop_newest" drop and count; "refuse" takes no new ones: publishers get reason code 0x97, those before MQTT 5.0 no acknowledgement, and send again.',
    ),
  })
}

export function topicSection() {
  const rule = z.strictObject({
    filter: required(topicFilter(), 'Which topics, as they are at this broker.'),
    lane: required(choice(laneNames), 'What kind of messages these are.'),
    durability: optional(choice(durabilities), 'that of the lane', 'What they survive once they are acknowledged.'),
  })
  return option(z.array(rule), [], 'Rules by topic. The first whose filter matches decides.')
}
