/** `[sys]`: what the broker publishes about itself below `$SYS`. */
import { z } from 'zod'
import { flag, option, wholeNumber } from '../option.ts'

export function sysSection() {
  return z.strictObject({
    enabled: option(flag(), true, 'false: nothing is published below $SYS.'),
    interval_seconds: option(
      wholeNumber(1, 86_400, 'seconds'),
      60,
      'How often version, counts and totals are published below $SYS/brokers. Clients that come and go are told at once.',
    ),
    heartbeat_seconds: option(wholeNumber(1, 86_400, 'seconds'), 30, 'The same for the uptime and the time of day.'),
    mosquitto: option(flag(), false, 'true: the topics of mosquitto below $SYS/broker are published as well.'),
  })
}
