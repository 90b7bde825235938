/**
 * A log line for the person at the terminal: `12:00:01.123 info  listener open  name=tcp bind=127.0.0.1:1883`. What
 * comes from peers is quoted unless it is plain, so that no client id can move the cursor or fake a line.
 */
type Line = { level: string; time: string; msg: string; err?: { message?: string; stack?: string } | null }

/** @param json one line of pino's output */
export function humanLine(json: string): string {
  const { level, time, msg, err, ...fields }: Line & Record<string, unknown> = JSON.parse(json)
  const clock = new Date(time).toTimeString().slice(0, 8)
  const milliseconds = time.slice(-5, -1)
  const shown = err === undefined ? fields : { ...fields, err: err?.message ?? err }
  const pairs = Object.entries(shown).map(([name, value]) => `${name}=${humanValue(value)}`)
  const line = `${clock}${milliseconds} ${level.padEnd(5)} ${msg}`
  // Only our own mistakes carry a stack.
  const stack = err?.stack === undefined ? '' : `${err.stack.replace(/^/gm, '    ')}\n`
  return `${pairs.length === 0 ? line : `${line}  ${pairs.join(' ')}`}\n${stack}`
}

function humanValue(value: unknown): string {
  if (typeof value === 'string' && /^[\p{L}\p{N}\p{P}\p{S}]+$/u.test(value) && !value.includes('"')) return value
  const invisible = /[\p{C}\p{Zl}\p{Zp}]/gu
  return JSON.stringify(value).replace(invisible, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
}
