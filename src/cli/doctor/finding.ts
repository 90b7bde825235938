/** What the doctor has found out, in words for people. */

/** `fail`: it will not work, or does not; `warn`: it works and may surprise. */
export type FindingState = 'ok' | 'warn' | 'fail' | 'note'

export interface Finding {
  readonly topic: string
  readonly state: FindingState
  readonly text: string
}

/** @example bytesText(1.5 * 2 ** 30) // '1.5 GiB' */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

/** @example durationText(100_000) // '1 d 3 h' */
export function durationText(seconds: number): string {
  if (seconds >= 365 * 86_400 * 2) return `${(seconds / (365 * 86_400)).toFixed(1)} years`
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [Math.floor(seconds) % 60, 's'],
  ] as const
  const first = parts.findIndex(([count]) => count > 0)
  if (first < 0) return '0 s'
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ')
}
