/** Reads what disk-shim.c recorded. */
import { basename } from 'node:path'

export type TraceEvent =
  | { readonly kind: 'opened'; readonly file: number; readonly path: string }
  | { readonly kind: 'written'; readonly file: number; readonly offset: number; readonly data: Buffer }
  | { readonly kind: 'truncated'; readonly file: number; readonly size: number }
  | { readonly kind: 'synced'; readonly file: number }
  | { readonly kind: 'unlinked'; readonly path: string }
  | { readonly kind: 'renamed'; readonly path: string; readonly to: string }
  | { readonly kind: 'sent' | 'received'; readonly socket: number; readonly data: Buffer }

const headBytes = 24

export function readTrace(bytes: Buffer): TraceEvent[] {
  const events: TraceEvent[] = []
  for (let at = 0; at + headBytes <= bytes.length; ) {
    const kind = bytes.readUInt32LE(at)
    const file = bytes.readUInt32LE(at + 4)
    const offset = Number(bytes.readBigUInt64LE(at + 8))
    const length = Number(bytes.readBigUInt64LE(at + 16))
    at += headBytes
    const data = bytes.subarray(at, at + length)
    at += length
    events.push(toEvent(kind, file, offset, data))
  }
  return events
}

function toEvent(kind: number, file: number, offset: number, data: Buffer): TraceEvent {
  switch (kind) {
    case 1:
      return { kind: 'opened', file, path: data.toString() }
    case 2:
      return { kind: 'written', file, offset, data }
    case 3:
      return { kind: 'truncated', file, size: offset }
    case 4:
      return { kind: 'synced', file }
    case 5:
      return { kind: 'unlinked', path: data.toString() }
    case 6: {
      const [path = '', to = ''] = data.toString().split('\0')
      return { kind: 'renamed', path, to }
    }
    case 7:
      return { kind: 'sent', socket: file, data }
    case 8:
      return { kind: 'received', socket: file, data }
    default:
      throw new Error(`no such kind of event: ${kind}`)
  }
}

/** For messages of tests. */
export function describe(event: TraceEvent): string {
  switch (event.kind) {
    case 'opened':
    case 'unlinked':
    case 'renamed':
      return `${event.kind} ${basename(event.path)}`
    case 'written':
      return `written ${event.data.length} bytes at ${event.offset}`
    case 'truncated':
      return `truncated to ${event.size}`
    case 'synced':
      return 'synced'
    case 'sent':
    case 'received':
      return `${event.kind} ${event.data.length} bytes`
  }
}
