/** `[store]`: how safe a message is once it is acknowledged, and how much may pile up. */
import { z } from 'zod'
import { durabilities } from '../durability.ts'
import { choice, option, type Profile, wholeNumber } from '../option.ts'

const gibibyte = 1024 ** 3

export function storeSection(profile: Profile) {
  return z.strictObject({
    durability: option(
      choice(durabilities),
      'disk',
      'What an acknowledged message with QoS 1 or 2 survives, unless its lane or a rule under [[topic]] says otherwise: "disk" a power cut, "os" the end of the process but not of the machine, "ram" neither: it is acknowledged at once and written with the next commit. Sessions are kept as safely as the safest messages. Where all is "ram", no file is written.',
    ),
    commit_interval_ms: option(
      wholeNumber(0, 1000, 'milliseconds'),
      5,
      'How long messages are gathered before they are written together. Longer spares the disk, shorter acknowledges sooner. Those of the control lane are written at once, with what has been gathered.',
    ),
    flash_budget_mb_per_day: option(
      wholeNumber(0, 1_000_000_000),
      { edge: 2000, cloud: 0 }[profile],
      'Megabytes that may be written in a day. As long as that takes it, messages wait for others up to store.commit_wait_ms_max before they are written; those of the control lane never do, and where the messages alone are more the wait ends where it no longer pays. 0 = no budget.',
    ),
    commit_wait_ms_max: option(
      wholeNumber(0, 10_000, 'milliseconds'),
      200,
      'How long the flash budget may hold a message back before it is written, acknowledged, and handed to clients with durable sessions.',
    ),
    subscribe_wait_seconds_max: option(
      wholeNumber(1, 86_400, 'seconds'),
      8,
      'How long a client with a durable session waits for SUBACK or UNSUBACK while the store cannot be written. After that its new subscriptions are taken back and refused with 0x97 (0x80 before MQTT 5.0), and those that it had before stay: UNSUBACK says 0x83, and before MQTT 5.0, where it cannot, the connection is closed.',
    ),
    free_bytes_min: option(
      wholeNumber(0, 1024 * gibibyte, 'bytes'),
      { edge: 64, cloud: 256 }[profile] * 1024 * 1024,
      'Space on the disk that is left to others: with less than this, new messages for durable sessions are refused until there is more. 0 = fill the disk.',
    ),
    free_percent_min: option(
      wholeNumber(0, 90),
      0,
      'The same as a share of the disk, in percent. The larger of the two counts.',
    ),
    backlog_bytes_max: option(
      wholeNumber(1024 * 1024, 1024 * gibibyte, 'bytes'),
      { edge: 1, cloud: 10 }[profile] * gibibyte,
      'Bytes of messages kept for clients and bridges that are away. Beyond it the oldest are dropped and counted.',
    ),
    backlog_count_max: option(
      wholeNumber(1000, 1_000_000_000),
      { edge: 5_000_000, cloud: 50_000_000 }[profile],
      'The same as a number of messages.',
    ),
  })
}
