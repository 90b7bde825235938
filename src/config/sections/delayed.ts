/** `[delayed]`: messages that clients publish for later, to `$delayed/{seconds}/{topic}`. */
import { z } from 'zod'
import { option, type Profile, wholeNumber } from '../option.ts'

const mebibyte = 1024 * 1024

export function delayedSection(profile: Profile) {
  return z.strictObject({
    count_max: option(
      wholeNumber(0, 10_000_000),
      { edge: 10_000, cloud: 100_000 }[profile],
      'Messages that wait for their time. Beyond it new ones are refused with reason code 0x97. 0 = none may wait.',
    ),
    count_max_per_client: option(wholeNumber(0, 10_000_000), 1000, 'The same for each client.'),
    bytes_max: option(
      wholeNumber(0, 1_099_511_627_776, 'bytes'),
      { edge: 16, cloud: 256 }[profile] * mebibyte,
      'Bytes of topics and payloads of all of them together, which are held in memory.',
    ),
  })
}
