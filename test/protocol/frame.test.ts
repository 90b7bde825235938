import fc from 'fast-check'
import t from 'tap'
import { PacketFault } from '../../src/protocol/fault.ts'
import { FrameDecoder } from '../../src/protocol/frame.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { packetFixtures } from '../fixtures/packets.ts'
import { faultOf, frameBytesMax, wire } from '../fixtures/wire.ts'

const frames = [
  ...packetFixtures.slice(0, 40).map(({ bytes }) => bytes),
  // Remaining lengths of two and three bytes, and one that takes three bytes to claim two.
  Buffer.concat([wire('30 8001'), Buffer.alloc(128, 1)]),
  Buffer.concat([wire('30 808001'), Buffer.alloc(16_384, 2)]),
  wire('c0 00'),
]
const stream = Buffer.concat(frames)
const expected = frames.map((frame) => frame.toString('hex'))

/** Every frame that is whole, header and body, and nothing of its remaining length. */
function take(decoder: FrameDecoder, into: string[]): void {
  while (decoder.next()) {
    const body = decoder.bytes.subarray(decoder.start, decoder.end)
    into.push(`${decoder.header.toString(16).padStart(2, '0')}:${body.toString('hex')}`)
  }
}

function framesOf(chunks: Iterable<Buffer>): string[] {
  const decoder = new FrameDecoder(frameBytesMax)
  const found: string[] = []
  for (const chunk of chunks) {
    // A chunk is only borrowed: what the decoder needs of it later must not change with it.
    const borrowed = Buffer.from(chunk)
    decoder.push(borrowed)
    take(decoder, found)
    borrowed.fill(0xee)
  }
  return found
}

const whole = framesOf([stream])

t.test('frames of one chunk come out in order, as they were', async (t) => {
  const headers = expected.map((frame) => frame.slice(0, 2))
  t.strictSame(
    whole.map((frame) => frame.slice(0, 2)),
    headers,
  )
  for (const [index, frame] of whole.entries()) t.ok(expected[index]?.endsWith(frame.slice(3)), `frame ${index}`)
})

t.test('a stream cut at any position holds the same frames', async (t) => {
  const short = Buffer.concat(frames.slice(0, 41))
  const found = framesOf([short]).join()
  let wrong = 0
  for (let cut = 0; cut <= short.length; cut++) {
    if (framesOf([short.subarray(0, cut), short.subarray(cut)]).join() !== found) wrong++
  }
  t.equal(wrong, 0)
})

t.test('a stream that comes byte by byte holds the same frames', async (t) => {
  t.strictSame(framesOf(Array.from(stream, (byte) => Buffer.from([byte]))), whole)
})

t.test('a stream in random chunks holds the same frames', async () => {
  fc.assert(
    fc.property(fc.array(fc.nat(stream.length), { maxLength: 40 }), (cuts) => {
      const bounds = [0, ...cuts.sort((a, b) => a - b), stream.length]
      const chunks = bounds.slice(1).map((end, index) => stream.subarray(bounds[index], end))
      return framesOf(chunks).join() === whole.join()
    }),
    { numRuns: 200 },
  )
})

t.test('a reader that waits in the middle of a chunk goes on where it stopped', async (t) => {
  const decoder = new FrameDecoder(frameBytesMax)
  const chunk = Buffer.concat([wire('c0 00 d0 00 e0 00'), wire('40 02 00')])
  decoder.push(chunk)
  t.ok(decoder.next())
  decoder.keepUnread()
  chunk.fill(0xee)
  decoder.push(wire('01 c0 00'))
  const found: string[] = []
  take(decoder, found)
  t.strictSame(found, ['d0:', 'e0:', '40:0001', 'c0:'])
})

t.test('a packet over the limit is refused', async (t) => {
  const exact = new FrameDecoder(12)
  exact.push(Buffer.concat([wire('30 0a'), Buffer.alloc(10)]))
  t.ok(exact.next(), 'at the limit it passes, header included')

  for (const bytes of ['30 0b', '30 80 80 01', '30 ff ff ff 7f']) {
    const decoder = new FrameDecoder(12)
    decoder.push(wire(bytes))
    t.equal(
      faultOf(() => decoder.next())?.reasonCode,
      ReasonCode.packetTooLarge,
      `from the header ${bytes} alone [MQTT-3.2.2-15]`,
    )
    t.equal(decoder.pendingByteCount, 0, 'nothing of it is kept')
  }
})

t.test('a packet over the limit is refused when its header comes byte by byte', async (t) => {
  const decoder = new FrameDecoder(1000)
  for (const byte of wire('30 80 80')) {
    decoder.push(Buffer.from([byte]))
    t.notOk(decoder.next())
  }
  decoder.push(Buffer.from([1]))
  t.equal(faultOf(() => decoder.next())?.reasonCode, ReasonCode.packetTooLarge)
})

t.test('a remaining length that is not well formed is refused', async (t) => {
  for (const [bytes, why] of [
    ['30 80 00', 'overlong [MQTT-1.5.5-1]'],
    ['30 ff 80 00', 'overlong in three bytes'],
    ['30 80 80 80 00', 'overlong in four bytes'],
    ['30 80 80 80 80', 'longer than four bytes, before the fifth is there'],
    ['30 ff ff ff ff 7f', 'five bytes'],
  ] as const) {
    const decoder = new FrameDecoder(frameBytesMax)
    decoder.push(wire(bytes))
    t.equal(faultOf(() => decoder.next())?.reasonCode, ReasonCode.malformedPacket, why)
    t.throws(() => decoder.next(), PacketFault, 'and stays refused')
  }
})

t.test('memory follows the bytes that came, not the length that was claimed', async (t) => {
  const before = process.memoryUsage().arrayBuffers
  const decoders = Array.from({ length: 100 }, () => new FrameDecoder(frameBytesMax))
  for (const decoder of decoders) {
    decoder.push(Buffer.concat([wire('30 ff ff ff 7f'), Buffer.alloc(1000)]))
    t.notOk(decoder.next())
    decoder.push(Buffer.alloc(1000))
    t.notOk(decoder.next())
    t.equal(decoder.pendingByteCount, 2005)
  }
  const grown = process.memoryUsage().arrayBuffers - before
  t.ok(grown < 100 * 16_384, `${grown} bytes for 100 connections that claim 256 MB each`)
})

t.test('between packets nothing is held', async (t) => {
  const decoder = new FrameDecoder(frameBytesMax)
  decoder.push(Buffer.concat([wire('c0 00'), Buffer.alloc(0)]))
  t.ok(decoder.next())
  t.notOk(decoder.next())
  t.equal(decoder.bytes.length, 0)
  t.equal(decoder.pendingByteCount, 0)
  decoder.push(Buffer.alloc(0))
  t.notOk(decoder.next(), 'an empty chunk is no frame')
})
