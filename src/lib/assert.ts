/**
 * Checks for our own mistakes. A failed check is a bug in this program, never bad input: it throws, the process
 * ends and the supervisor restarts it from durable state.
 */

/** @example assert(windowCount <= windowMax, 'send window overflow') */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`bug: ${message}`)
}

/** Closes a `switch` over a union: a forgotten case does not compile. */
export function unreachable(value: never): never {
  throw new Error(`bug: unreachable value ${String(value)}`)
}

/** The value that the caller knows to be there. @example must(table.get(key), 'session of an open connection') */
export function must<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`bug: missing ${what}`)
  return value
}
