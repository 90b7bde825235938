import fc from 'fast-check'
import t from 'tap'
import { FrameDecoder } from '../../src/protocol/frame.ts'
import { OutputBuffer, passage } from '../../src/protocol/output.ts'
import type { Qos, Version } from '../../src/protocol/packet.ts'
import { decodePublish, encodePublish, Publish, TopicMemo } from '../../src/protocol/packets/publish.ts'

const unlimited = Number.POSITIVE_INFINITY

type Arriving = { topic: string; payloadBytes: number; qos: Qos; retain: boolean; hasProperties: boolean }
type Leaving = { to: number; version: Version; qos: Qos; keepsRetain: boolean; isOwned: boolean }

const arriving: fc.Arbitrary<Arriving> = fc.record({
  topic: fc.constantFrom('a', 'site/1/value', 'x'.repeat(130), 'é/ü'),
  payloadBytes: fc.constantFrom(0, 1, 60, 64, 127, 1024, 5000, 17_000),
  qos: fc.constantFrom<Qos>(0, 0, 0, 0, 1, 2),
  retain: fc.constantFrom(false, false, false, true),
  hasProperties: fc.constantFrom(false, false, false, true),
})
const leaving: fc.Arbitrary<Leaving> = fc.record({
  to: fc.constantFrom(0, 0, 0, 1),
  version: fc.constantFrom<Version>(4, 5),
  qos: fc.constantFrom<Qos>(0, 0, 0, 1),
  keepsRetain: fc.boolean(),
  isOwned: fc.constantFrom(false, false, false, true),
})

/** One chunk, as the client of `version` sends it. */
function chunkOf(messages: readonly Arriving[], version: Version): Buffer {
  const out = new OutputBuffer()
  for (const [index, { topic, payloadBytes, qos, retain, hasProperties }] of messages.entries()) {
    const message = Publish.create({ topic, payload: Buffer.alloc(payloadBytes, index) })
    const properties = hasProperties ? { contentType: 'x' } : undefined
    encodePublish(out, message, version, qos, retain, false, qos === 0 ? 0 : 7, properties, unlimited)
  }
  return Buffer.concat(out.take())
}

/** What two peers get of it. */
function relay(
  chunk: Buffer,
  version: Version,
  ways: readonly Leaving[],
  how: 'written' | 'passed' | 'referenced',
): Buffer[] {
  const received = Buffer.from(chunk)
  const frames = new FrameDecoder(1_000_000)
  const memo = new TopicMemo()
  const outputs = [new OutputBuffer(), new OutputBuffer()] as const
  frames.push(received)
  if (how !== 'written') passage.open(how === 'referenced')
  for (let index = 0; frames.next(); index++) {
    const message = decodePublish(frames.bytes, frames.start, frames.end, frames.header & 15, version, memo)
    const way = ways[index % ways.length] as Leaving
    if (way.isOwned) message.own()
    const out = outputs[way.to] as OutputBuffer
    const retain = way.keepsRetain && message.retain
    const packetId = way.qos === 0 ? 0 : 9
    encodePublish(out, message, way.version, way.qos, retain, false, packetId, undefined, unlimited)
  }
  passage.close()
  // The chunk is given back.
  if (how !== 'referenced') received.fill(0xee)
  return outputs.map((out) => Buffer.concat(out.take()))
}

/** The first `countMax` messages, which are of QoS 0, all go to one peer of the same version. */
function passOn(
  received: Buffer,
  out: OutputBuffer,
  version: Version,
  chunkStays: boolean,
  countMax = unlimited,
): void {
  const frames = new FrameDecoder(1_000_000)
  const memo = new TopicMemo()
  frames.push(received)
  passage.open(chunkStays)
  for (let count = 0; count < countMax && frames.next(); count++) {
    const passed = decodePublish(frames.bytes, frames.start, frames.end, frames.header & 15, version, memo)
    encodePublish(out, passed, version, 0, false, false, 0, undefined, unlimited)
  }
  passage.close()
}

const kilobyte: Arriving = { topic: 'a/b', payloadBytes: 1024, qos: 0, retain: false, hasProperties: false }

function kilobytes(count: number, version: Version): Buffer {
  return chunkOf(
    Array.from({ length: count }, () => kilobyte),
    version,
  )
}

t.test('what is passed on is what would have been written', (t) => {
  const some = fc.array(arriving, { minLength: 1, maxLength: 40 })
  const ways = fc.array(leaving, { minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(some, ways, fc.constantFrom<Version>(4, 5), (messages, leavings, version) => {
      const chunk = chunkOf(messages, version)
      const written = relay(chunk, version, leavings, 'written')
      const isSame = (bytes: Buffer, index: number) => bytes.equals(written[index] as Buffer)
      return (['passed', 'referenced'] as const).every((how) => relay(chunk, version, leavings, how).every(isSame))
    }),
    { numRuns: 500 },
  )
  t.end()
})

t.test('messages of QoS 0 to one peer of the same version are copied once, together', (t) => {
  const { copy } = Buffer.prototype
  t.teardown(() => {
    Buffer.prototype.copy = copy
  })
  for (const version of [4, 5] as const) {
    const chunk = kilobytes(30, version)
    const out = new OutputBuffer()
    out.ensure(chunk.length)
    let copyCount = 0
    Buffer.prototype.copy = function (...args: Parameters<typeof copy>) {
      copyCount++
      return copy.apply(this, args)
    }
    passOn(chunk, out, version, false)
    Buffer.prototype.copy = copy
    t.equal(copyCount, 1)
    t.ok(Buffer.concat(out.take()).equals(chunk))
  }
  t.end()
})

t.test('a long run is copied into a piece of its own, with no room behind it', (t) => {
  const chunk = kilobytes(40, 4)
  const out = new OutputBuffer()
  const received = Buffer.from(chunk)
  passOn(received, out, 4, false)
  received.fill(0xee)
  const long = out.take().filter((piece) => piece.length > 1024)
  t.equal(long.length, 1)
  t.equal(long[0]?.buffer.byteLength, long[0]?.length)
  t.ok(chunk.subarray(-(long[0]?.length ?? 0)).equals(long[0] ?? chunk))
  t.end()
})

t.test('what is most of a chunk that stays is not copied at all, and a small part of one is', (t) => {
  const chunk = kilobytes(40, 4)
  for (const [count, isReferenced] of [
    [40, true],
    [20, true],
    [10, false],
  ] as const) {
    const out = new OutputBuffer()
    out.ensure(chunk.length)
    const received = Buffer.from(new Uint8Array(chunk).buffer)
    passOn(received, out, 4, true, count)
    const pieces = out.take()
    t.equal(
      pieces.some(({ buffer }) => buffer === received.buffer),
      isReferenced,
    )
    t.ok(Buffer.concat(pieces).equals(chunk.subarray(0, (chunk.length / 40) * count)))
  }
  t.end()
})
