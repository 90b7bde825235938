/** `[queue]`: what may wait in the log for one client with a durable session that is away or slow. */
import { z } from 'zod'
import { choice, flag, option, optional, wholeNumber } from '../option.ts'

export function queueSection() {
  return z.strictObject({
    count_max: optional(
      wholeNumber(1, 1_000_000_000),
      'no limit',
      'Messages that wait for one client. What is over the limits of the queue goes when the client reads on, and is counted.',
    ),
    bytes_max: optional(
      wholeNumber(1, 1_099_511_627_776, 'bytes'),
      'no limit',
      'Bytes of topics and payloads that wait for one client.',
    ),
    age_seconds_max: optional(
      wholeNumber(1, 3_153_600_000, 'seconds'),
      'no limit',
      'Messages that have waited longer for a client are dropped and counted.',
    ),
    when_full: option(
      choice(['drop_oldest', 'drop_newest']),
      'drop_oldest',
      'Which messages go when the queue is full.',
    ),
    qos0: option(flag(), false, 'true: messages with QoS 0 wait too. After a crash of the broker some may come twice.'),
  })
}
