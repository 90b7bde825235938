import { readFileSync } from 'node:fs'
import t from 'tap'
import { Type, toWire } from '../../firmware-sim/link-codec.ts'
import { LineTrace } from '../../src/gateway/line-trace.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'
import { type LinkVectors, vectorsPath } from './link-vectors.ts'

function traced(protocol: 'link' | 'lines' | 'raw', ...chunks: readonly (Buffer | string)[]): [string[], string] {
  const lines: string[] = []
  const trace = new LineTrace(protocol, (line) => lines.push(line))
  for (const chunk of chunks) trace.push(Buffer.from(chunk))
  return [lines, trace.summary]
}

t.test('frames are shown with their fields, garbage as it is', async (t) => {
  const vectors: LinkVectors = JSON.parse(readFileSync(vectorsPath, 'utf8'))
  const wires = vectors.frames.map(({ wire }) => Buffer.from(wire, 'hex'))
  const [lines, summary] = traced('link', ...wires, Buffer.from('\0boot!\r\n\0'))
  t.match(lines[0], /^RST {6}device "s1" "thermo 1\.2" boot 0a0b0c0d conversation 01020304 reset watchdog mtu 128/)
  t.match(lines[0], /rates 250000,1000000 wants time$/)
  t.ok(lines.includes('DATA     seq 0 ack 0  5 bytes "hello"'))
  t.ok(lines.includes('DATA     seq 255 ack 7 RETRANSMITTED  5 bytes "hello"'))
  t.ok(lines.includes('BAUD     seq 4 ack 201  500000 baud'))
  t.ok(lines.includes(`TIME     seq 4 ack 201  ${Date.UTC(2026, 0, 2, 3, 4, 5, 678)} ms since 1970, quality 3`))
  t.ok(lines.includes('TYPE 15  seq 4 ack 201  1 bytes "?"'))
  t.strictSame(lines.slice(-2), [
    'garbage  no frame, no text, 7 bytes',
    '         62 6f 6f 74 21 0d 0a                             |boot!..|',
  ])
  t.match(summary, new RegExp(`bytes, ${wires.length} units, 0 checksum, 1 cobs, 0 oversize$`))
})

t.test('lines are shown as what they become', async (t) => {
  const [lines, summary] = traced('lines', '[1,"a","b",1]\nT:1\nhello \u001b[31m\n[0,"x/#"]\nboot\n')
  t.strictSame(lines.slice(0, 2), ['message  a "b" qos 1', 'value    {"key":"T"} "1"'])
  t.match(lines[2], /^garbage/)
  t.strictSame(lines.slice(-2), ['down     x/#', 'text     "boot"'])
  t.match(summary, /4 units, 0 checksum, 1 cobs/)
})

t.test('raw bytes are dumped', async (t) => {
  t.strictSame(traced('raw', Buffer.from([0x10, 0x41]))[0], [
    '         10 41                                            |.A|',
  ])
})

t.test('nothing on a line steers the terminal or breaks the trace', async (t) => {
  const random = new SeededRandom(4)
  for (const protocol of ['link', 'lines', 'raw'] as const) {
    const frames = Array.from({ length: 200 }, () =>
      toWire({ type: random.below(16), flags: 0, seq: 0, ack: 0, payload: random.bytes(random.below(40)) }),
    )
    const [lines] = traced(
      protocol,
      random.bytes(100_000),
      ...frames,
      toWire({ type: Type.ping, flags: 0, seq: 0, ack: 0, payload: Buffer.alloc(0) }),
    )
    t.ok(lines.every((line) => /^[\x20-\x7e…]*$/.test(line)))
  }
})
