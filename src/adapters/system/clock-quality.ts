/** How far the wall clock of this machine can be trusted, as far as Linux leaves signs of it. */
import { existsSync } from 'node:fs'
import type { ClockQuality } from '../../ports/clock.ts'

/** systemd-timesyncd, and chrony and others by way of systemd, make it when the clock was set from the network. */
const synchronizedMark = '/run/systemd/timesync/synchronized'
const clockChip = '/dev/rtc0'

/** No wall clock that was ever set is before this. */
const builtMs = Date.UTC(2026, 10, 1)

export function clockQuality(): ClockQuality {
  if (Date.now() < builtMs) return 'unset'
  if (existsSync(synchronizedMark)) return 'network'
  return existsSync(clockChip) ? 'rtc' : 'kept'
}
