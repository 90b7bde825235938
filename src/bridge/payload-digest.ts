/** FNV-1a of a payload: tells messages apart, proves nothing. */
import type { Publish } from '../protocol/packets/publish.ts'

export function digestOfPayload({ bytes, payloadStart, payloadEnd }: Publish): number {
  let hash = 0x811c9dc5
  for (let at = payloadStart; at < payloadEnd; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193)
  return hash >>> 0
}
