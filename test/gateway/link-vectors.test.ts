import { readFileSync } from 'node:fs'
import t from 'tap'
import * as device from '../../firmware-sim/link-codec.ts'
import { cobsBytesMax, cobsDecode, cobsEncode } from '../../src/gateway/cobs.ts'
import { crc16 } from '../../src/gateway/crc16.ts'
import { LinkDecoder } from '../../src/gateway/link-decoder.ts'
import { encodeFrame, type LinkFrame } from '../../src/gateway/link-frame.ts'
import { decodeHello } from '../../src/gateway/link-hello.ts'
import { type LinkVectors, vectorsPath, vectorsText } from './link-vectors.ts'

const text = readFileSync(vectorsPath, 'utf8')
const vectors: LinkVectors = JSON.parse(text)
const fromHex = (hex: string): Buffer => Buffer.from(hex, 'hex')

t.test('the vectors are what both ends make today: node --import=tsx test/gateway/link-vectors.ts', async (t) => {
  t.equal(text, vectorsText())
})

t.test('both ends stuff and unstuff as the vectors say', async (t) => {
  for (const { name, plain, encoded } of vectors.cobs) {
    const bytes = fromHex(plain)
    const target = Buffer.alloc(cobsBytesMax(bytes.length))
    t.equal(target.toString('hex', 0, cobsEncode(bytes, target, 0)), encoded, name)
    t.equal(device.stuff(bytes).toString('hex'), encoded, `${name}, by the device`)
    t.equal(unstuffed(encoded), plain, `${name}, back`)
    t.equal(device.unstuff(fromHex(encoded))?.toString('hex'), plain, `${name}, back by the device`)
  }
  for (const { name, encoded } of vectors.cobsRefused) {
    t.equal(unstuffed(encoded), undefined, name)
    // The device cuts its input at zeros and never sees one here.
    if (!fromHex(encoded).includes(0)) t.equal(device.unstuff(fromHex(encoded)), undefined, `${name}, by the device`)
  }
})

t.test('both ends compute the checksums of the vectors', async (t) => {
  for (const { name, bytes, crc } of vectors.crc) {
    t.equal(crc16(fromHex(bytes), 0, bytes.length / 2), crc, name)
    t.equal(device.crc(fromHex(bytes)), crc, `${name}, by the device`)
  }
})

t.test('both ends write and read the frames of the vectors', async (t) => {
  for (const { name, wire, payload, ...head } of vectors.frames) {
    const frame = { address: undefined, ...head, payload: fromHex(payload) }
    t.equal(encodeFrame(frame).toString('hex'), wire, name)
    t.equal(device.toWire(frame).toString('hex'), wire, `${name}, by the device`)
    t.strictSame(framesIn(fromHex(wire)), [frame], `${name}, read`)
    t.strictSame(device.fromWire(fromHex(wire).subarray(1, -1)), frame, `${name}, read by the device`)
  }
})

t.test('neither end takes the refused frames, and both understand the frame behind them', async (t) => {
  const good = { type: 6, flags: 0, address: undefined, seq: 1, ack: 2, payload: Buffer.alloc(0) }
  for (const { name, wire } of vectors.framesRefused) {
    t.strictSame(framesIn(Buffer.concat([fromHex(wire), device.toWire(good)])), [good], name)
    t.strictSame(device.fromWire(fromHex(wire).subarray(1, -1)), undefined, `${name}, by the device`)
  }
})

t.test('the gateway reads the fields of the vectors', async (t) => {
  for (const { name, payload, hello } of vectors.hellos) t.strictSame(decodeHello(fromHex(payload)), hello, name)
  for (const { name, payload } of vectors.hellosRefused) t.equal(decodeHello(fromHex(payload)), undefined, name)
})

t.test('the recorded conversation has every kind of turn', async (t) => {
  const types = new Set<number>()
  for (const { wire, fate } of vectors.conversation) {
    const frames = framesIn(fromHex(wire))
    t.equal(frames.length, fate === 'damaged' ? 0 : 1, `${fate} ${wire}`)
    for (const { type } of frames) types.add(type)
  }
  // TURN is only of a bus, and this is a line with one device.
  const { turn, ...others } = device.Type
  t.notOk(types.has(turn))
  t.strictSame([...types].sort(), Object.values(others).sort())
})

function unstuffed(encoded: string): string | undefined {
  const source = fromHex(encoded)
  const target = Buffer.alloc(source.length)
  const length = cobsDecode(source, 0, source.length, target)
  return length < 0 ? undefined : target.toString('hex', 0, length)
}

function framesIn(wire: Buffer): LinkFrame[] {
  const frames: LinkFrame[] = []
  const decoder = new LinkDecoder(128, {
    onFrame: (frame) => frames.push({ ...frame, payload: Buffer.from(frame.payload) }),
    onGarbage: () => {},
  })
  decoder.push(wire)
  return frames
}
