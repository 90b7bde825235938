/**
 * A file of what passed on serial lines (lib/line-capture.ts), put through the gateway's decoder once more: a sniffer
 * for each line and direction, as if it passed now.
 */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { LineTrace, type TracedProtocol } from '../gateway/line-trace.ts'
import { Failure } from '../lib/errors.ts'
import { isCapture, readCaptureLine } from '../lib/line-capture.ts'
import { print } from './output.ts'

const arrows = { device: '<', gateway: '>' } as const

/** Rejects with a Failure when the file is something else. */
export async function showCapture(path: string, protocol: TracedProtocol): Promise<void> {
  const traces = new Map<string, LineTrace>()
  let at = ''
  const traceOf = (name: string): LineTrace => {
    const known = traces.get(name) ?? new LineTrace(protocol, (text) => print(`${at} ${name} ${text}`))
    traces.set(name, known)
    return known
  }
  let lineNumber = 0
  for await (const text of createInterface({ input: createReadStream(path) })) {
    lineNumber++
    if (lineNumber === 1 && !isCapture(text)) throw new Failure('ERR_CAPTURE_FILE', path)
    const piece = readCaptureLine(text)
    if (piece === undefined) {
      if (text.startsWith('#')) print(text.replace(/^# /, '--- '))
      else print(`--- line ${lineNumber} is not of a capture`)
      continue
    }
    at = (piece.atMs / 1000).toFixed(3).padStart(8)
    traceOf(`${piece.line} ${arrows[piece.from]}`).push(piece.bytes)
  }
  if (lineNumber === 0) throw new Failure('ERR_CAPTURE_FILE', path)
  for (const [name, { summary }] of traces) print(`--- ${name} ${summary}`)
}
