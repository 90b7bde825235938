/**
 * The brokers a message has passed, as a user property, so that it ends where it has been: a vector like the paths of
 * BGP, not a counter, which cannot tell a circle from a long way. Each broker is named by the identity of its log. Who
 * sends a message over a bridge adds itself; so does who fetches one, as the broker it comes from adds nothing to what
 * it delivers. 3.1.1 carries no properties: circles through it are found by breaker.ts.
 */
import type { UserProperties } from '../protocol/packet.ts'

export const pathProperty = 'x-b-path'

/** More hops than any network of bridges needs. */
export const hopCountMax = 8

const none: readonly string[] = []

/** Long enough to tell brokers apart. */
export function pathName(epoch: string): string {
  return epoch.slice(0, 12)
}

/** The brokers that a message has passed, in order. */
export function pathOf(userProperties: UserProperties | undefined): readonly string[] {
  if (userProperties === undefined) return none
  const text = userProperties.find(([name]) => name === pathProperty)?.[1]
  return text === undefined || text === '' ? none : text.split(',')
}

/**
 * The path with `own` behind it, for a message on its way out; undefined when it has to end here.
 * A message that was fetched by this broker has it at the end already.
 */
export function pathOut(path: readonly string[], own: string): readonly string[] | undefined {
  const at = path.indexOf(own)
  if (at >= 0) return at === path.length - 1 ? path : undefined
  return path.length >= hopCountMax ? undefined : [...path, own]
}

/** The same for a message that was fetched. */
export function pathIn(path: readonly string[], own: string): readonly string[] | undefined {
  return path.includes(own) || path.length >= hopCountMax ? undefined : [...path, own]
}

/** @example withPath([['unit', 'C']], ['9f3c', '17aa']) // [['unit', 'C'], ['x-b-path', '9f3c,17aa']] */
export function withPath(userProperties: UserProperties | undefined, path: readonly string[]): UserProperties {
  const own: UserProperties[number] = [pathProperty, path.length === 1 ? (path[0] as string) : path.join(',')]
  return userProperties === undefined ? [own] : [...userProperties.filter(([name]) => name !== pathProperty), own]
}
