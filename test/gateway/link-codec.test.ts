import fc from 'fast-check'
import t from 'tap'
import * as device from '../../firmware-sim/link-codec.ts'
import { cobsBytesMax, cobsDecode, cobsEncode } from '../../src/gateway/cobs.ts'
import { crc16 } from '../../src/gateway/crc16.ts'
import { mtuOf } from '../../src/gateway/line-rate.ts'
import { LinkDecoder } from '../../src/gateway/link-decoder.ts'
import {
  decodeFrame,
  encodeFrame,
  FrameFlag,
  FrameType,
  frameOverheadBytes,
  type LinkFrame,
  wireBytesMax,
} from '../../src/gateway/link-frame.ts'
import { decodeHello, encodeHello, helloFrameBytesMax, type LinkHello } from '../../src/gateway/link-hello.ts'
import { must } from '../../src/lib/assert.ts'
import { SeededRandom } from '../fakes/seeded-random.ts'

const bytesMax = 1200

t.test('COBS encodes the published examples', async (t) => {
  const run = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)
  const table: [plain: number[], encoded: number[]][] = [
    [[], [1]],
    [[0], [1, 1]],
    [
      [0, 0],
      [1, 1, 1],
    ],
    [
      [0, 0x11, 0],
      [1, 2, 0x11, 1],
    ],
    [
      [0x11, 0x22, 0, 0x33],
      [3, 0x11, 0x22, 2, 0x33],
    ],
    [
      [0x11, 0, 0, 0],
      [2, 0x11, 1, 1, 1],
    ],
    [run(1, 254), [255, ...run(1, 254)]],
    [
      [0, ...run(1, 254)],
      [1, 255, ...run(1, 254)],
    ],
    [run(1, 255), [255, ...run(1, 254), 2, 255]],
    [
      [...run(2, 255), 0],
      [255, ...run(2, 255), 1, 1],
    ],
    [
      [...run(3, 255), 0, 1],
      [254, ...run(3, 255), 2, 1],
    ],
  ]
  for (const [plain, encoded] of table) {
    t.strictSame([...encode(Buffer.from(plain))], encoded, `${plain.length} bytes`)
    t.strictSame(decode(Buffer.from(encoded)), Buffer.from(plain), `${plain.length} bytes back`)
    t.strictSame([...device.stuff(Buffer.from(plain))], encoded, `${plain.length} bytes by the device`)
  }
})

t.test('COBS gives back what it got, holds no zero, and costs a byte in 254', async () => {
  fc.assert(
    fc.property(fewZeros(), (plain) => {
      const encoded = encode(plain)
      return (
        !encoded.includes(0) &&
        encoded.length <= cobsBytesMax(plain.length) &&
        encoded.equals(device.stuff(plain)) &&
        must(decode(encoded), 'decoded bytes').equals(plain) &&
        must(device.unstuff(encoded), 'decoded bytes').equals(plain)
      )
    }),
  )
})

t.test('COBS decodes any bytes to the same answer on both ends, in place too', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const source = Buffer.from(bytes)
      const ours = decode(source)
      const theirs = source.includes(0) ? undefined : device.unstuff(source)
      const length = cobsDecode(source, 0, source.length, source)
      const inPlace = length < 0 ? undefined : source.subarray(0, length)
      return (
        (ours === undefined ? theirs === undefined : theirs?.equals(ours) === true && inPlace?.equals(ours)) === true
      )
    }),
  )
})

t.test('the checksum is CRC-16/CCITT-FALSE', async (t) => {
  const check = Buffer.from('123456789')
  t.equal(crc16(check, 0, check.length), 0x29b1)
  t.equal(crc16(check, 0, 0), 0xffff)
  t.equal(crc16(Buffer.from('x123456789x'), 1, 10), 0x29b1)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      return crc16(Buffer.from(bytes), 0, bytes.length) === device.crc(Buffer.from(bytes))
    }),
  )
})

t.test('a frame is a header, its payload and the checksum with the low byte first', async (t) => {
  const frame = { type: FrameType.data, flags: FrameFlag.retransmitted, seq: 7, ack: 3, payload: Buffer.from('hi') }
  const wire = encodeFrame(frame)
  t.equal(wire.toString('hex'), '0008210703686998c400')
  t.ok(wire.length <= wireBytesMax(2))
  t.strictSame(framesOf([wire], 48).frames, [{ ...frame, address: undefined }])
})

t.test('both ends make the same bytes of a frame and read each other', async () => {
  const frames = fc.record({
    type: fc.integer({ min: 0, max: 15 }),
    flags: fc.integer({ min: 0, max: 7 }),
    address: fc.option(fc.integer({ min: 1, max: 255 }), { nil: undefined }),
    seq: fc.integer({ min: 0, max: 255 }),
    ack: fc.integer({ min: 0, max: 255 }),
    payload: fewZeros(),
  })
  fc.assert(
    fc.property(frames, (frame) => {
      const wire = encodeFrame(frame)
      const read = framesOf([device.toWire(frame)], bytesMax + 5).frames[0]
      const readByDevice = device.fromWire(wire.subarray(1, -1))
      return wire.equals(device.toWire(frame)) && sameFrame(read, frame) && sameFrame(readByDevice, frame)
    }),
  )
})

t.test('a frame with any one bit changed is refused', async (t) => {
  const frame = { type: FrameType.data, flags: 0, seq: 1, ack: 2, payload: Buffer.from('reading 17.5') }
  const plain = must(decode(encodeFrame(frame).subarray(1, -1)), 'frame')
  t.ok(decodeFrame(plain, plain.length))
  for (let bit = 0; bit < plain.length * 8; bit++) {
    const damaged = Buffer.from(plain)
    damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
    if (decodeFrame(damaged, damaged.length) !== undefined) t.fail(`bit ${bit}`)
  }
  t.equal(decodeFrame(plain, 4), undefined, 'too short for a frame')
})

t.test('a hello says who the end is', async (t) => {
  const hello: LinkHello = {
    role: 'device',
    bootId: 0xdeadbeef,
    conversation: 0x01020304,
    resetReason: 'brown-out',
    mtuBytes: 1152,
    creditBytes: 512,
    windowFrames: 3,
    deviceId: 'meter-7',
    firmware: 'acme 1.2',
    wantsTime: true,
    baudRates: [250_000, 500_000, 1_000_000, 2_000_000],
  }
  t.strictSame(decodeHello(encodeHello(hello)), hello)
  const longest = encodeHello({ ...hello, deviceId: 'x'.repeat(24), firmware: 'y'.repeat(24) })
  t.ok(longest.length + frameOverheadBytes <= helloFrameBytesMax)
  t.throws(() => encodeHello({ ...hello, deviceId: 'x'.repeat(25) }), /bug/)
})

t.test('a hello of a newer end is read, and one without limits gets the smallest', async (t) => {
  const required = device.toFields([
    [200, Buffer.from('from the future')],
    [2, device.littleEndian(1, 1)],
    [3, device.littleEndian(7, 4)],
    [4, device.littleEndian(8, 4)],
    [5, device.littleEndian(99, 1)],
  ])
  t.match(decodeHello(required), {
    role: 'host',
    bootId: 7,
    conversation: 8,
    resetReason: 'unknown',
    mtuBytes: 48,
    creditBytes: 64,
    windowFrames: 1,
    deviceId: '',
  })
  t.match(decodeHello(Buffer.concat([required, device.toFields([[8, Buffer.from([200])]])])), { windowFrames: 7 })
  const withoutLast = required.length - 3
  for (let cut = 0; cut < required.length; cut++) {
    t.equal(decodeHello(required.subarray(0, cut)) !== undefined, cut === withoutLast, `cut to ${cut}`)
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => decodeHello(Buffer.from(bytes)) !== null))
})

t.test('the longest frame takes a tenth of a second, within bounds', async (t) => {
  const table = [
    [1200, 48],
    [9600, 96],
    [19_200, 192],
    [57_600, 576],
    [115_200, 1152],
    [921_600, 2048],
  ] as const
  for (const [baudRate, mtuBytes] of table) t.equal(mtuOf(baudRate), mtuBytes)
})

t.test('frames are found however the bytes are cut', async () => {
  const payloads = fc.array(fc.uint8Array({ maxLength: 80 }), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(payloads, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (payloads, cuts) => {
      const frames = payloads.map((payload, seq) => dataFrame(seq, payload))
      const wire = Buffer.concat(frames.map(encodeFrame))
      const chunks: Buffer[] = []
      for (let from = 0, turn = 0; from < wire.length; turn++) {
        const to = from + (cuts[turn % cuts.length] as number)
        chunks.push(wire.subarray(from, to))
        from = to
      }
      const found = framesOf(chunks, 96)
      return found.frames.length === frames.length && found.frames.every((frame, at) => sameFrame(frame, frames[at]))
    }),
  )
})

t.test('after any garbage the first clean frame is understood', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (garbage) => {
      const clean = dataFrame(9, Buffer.from('clean'))
      const { frames } = framesOf([Buffer.from(garbage), encodeFrame(clean)], 96)
      return sameFrame(frames.at(-1), clean)
    }),
  )
})

t.test('each kind of garbage has its counter', async (t) => {
  const good = encodeFrame(dataFrame(1, Buffer.from('abcdefgh')))
  const badCrc = Buffer.from(good)
  badCrc[8] = (badCrc[8] as number) ^ 0x40
  const { decoder, garbageCount, frames } = framesOf(
    [badCrc, Buffer.from([9, 1, 0]), Buffer.alloc(500, 1), good, Buffer.from([2, 7, 0])],
    96,
  )
  t.equal(frames.length, 1)
  t.equal(decoder.crcErrorCount, 2, 'a wrong checksum, and a frame too short to have one')
  t.equal(decoder.cobsErrorCount, 1)
  t.equal(decoder.oversizeCount, 1)
  t.equal(garbageCount(), 4)
})

t.test('a megabyte of garbage costs linear time and no memory', async (t) => {
  const random = new SeededRandom(1)
  const kinds: [string, Buffer][] = [
    ['random', random.bytes(1_000_000)],
    ['without any delimiter', Buffer.alloc(1_000_000, 0x55)],
    ['nothing but delimiters', Buffer.alloc(1_000_000)],
  ]
  for (const [name, garbage] of kinds) {
    const cpu = process.cpuUsage()
    const { decoder, frames, push } = framesOf([], 1152)
    const before = process.memoryUsage().arrayBuffers
    for (let from = 0; from < garbage.length; from += 100) push(garbage.subarray(from, from + 100))
    const grownBytes = process.memoryUsage().arrayBuffers - before
    const cpuMs = process.cpuUsage(cpu).user / 1000
    push(encodeFrame(dataFrame(1, Buffer.from('clean'))))
    t.equal(frames.at(-1)?.payload.toString(), 'clean', `${name}: in step again`)
    t.ok(grownBytes < 100_000, `${name}: ${grownBytes} bytes more`)
    t.ok(cpuMs < 1000, `${name}: ${cpuMs.toFixed(0)} ms`)
    if (name === 'without any delimiter') t.equal(decoder.oversizeCount, 1)
  }
})

t.test('a decoder that is cleared forgets the unfinished frame', async (t) => {
  const { decoder, frames, push } = framesOf([Buffer.from([5, 1, 1])], 96)
  decoder.clear()
  push(encodeFrame(dataFrame(1, Buffer.from('next'))).subarray(1))
  t.equal(frames.length, 1)
})

function encode(plain: Buffer): Buffer {
  const target = Buffer.alloc(cobsBytesMax(plain.length) + 2)
  const end = cobsEncode(plain, target, 2)
  return target.subarray(2, end)
}

function decode(encoded: Buffer): Buffer | undefined {
  const target = Buffer.alloc(encoded.length)
  const length = cobsDecode(encoded, 0, encoded.length, target)
  return length < 0 ? undefined : target.subarray(0, length)
}

/** Long runs without a zero are where COBS has its edges. */
function fewZeros(): fc.Arbitrary<Buffer> {
  return fc
    .array(fc.oneof({ weight: 200, arbitrary: fc.integer({ min: 1, max: 255 }) }, fc.constant(0)), {
      maxLength: bytesMax,
      size: 'max',
    })
    .map((bytes) => Buffer.from(bytes))
}

function dataFrame(seq: number, payload: Uint8Array): LinkFrame {
  return { type: FrameType.data, flags: 0, seq, ack: 0, payload: Buffer.from(payload) }
}

function framesOf(chunks: readonly Buffer[], mtuBytes: number) {
  const frames: LinkFrame[] = []
  let garbageCount = 0
  const decoder = new LinkDecoder(mtuBytes, {
    onFrame: (frame) => frames.push({ ...frame, payload: Buffer.from(frame.payload) }),
    onGarbage: () => garbageCount++,
  })
  const push = (chunk: Buffer): void => decoder.push(chunk)
  for (const chunk of chunks) push(chunk)
  return { decoder, frames, push, garbageCount: () => garbageCount }
}

function sameFrame(read: LinkFrame | undefined, sent: LinkFrame | undefined): boolean {
  if (read === undefined || sent === undefined) return false
  const { type, flags, address, seq, ack, payload } = sent
  return (
    read.address === address &&
    read.type === type &&
    read.flags === flags &&
    read.seq === seq &&
    read.ack === ack &&
    read.payload.equals(payload)
  )
}
