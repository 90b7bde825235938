import fc from 'fast-check'
import t from 'tap'
import { PacketFault } from '../../src/protocol/fault.ts'
import {
  readVariableByteInteger,
  variableByteCount,
  variableByteIntegerMax,
  writeVariableByteInteger,
} from '../../src/protocol/variable-byte-integer.ts'
import { wire } from '../fixtures/wire.ts'

t.test('the bounds of every length read and write as the specification lists them', async (t) => {
  for (const [value, notation] of [
    [0, '00'],
    [127, '7f'],
    [128, '80 01'],
    [16_383, 'ff 7f'],
    [16_384, '80 80 01'],
    [2_097_151, 'ff ff 7f'],
    [2_097_152, '80 80 80 01'],
    [268_435_455, 'ff ff ff 7f'],
  ] as const) {
    const bytes = wire(notation)
    const written = Buffer.alloc(bytes.length)
    t.equal(writeVariableByteInteger(written, 0, value), bytes.length)
    t.strictSame(written, bytes)
    t.equal(readVariableByteInteger(bytes, 0, bytes.length), value)
    t.equal(variableByteCount(value), bytes.length)
  }
})

t.test('any value reads back as it was written', async () => {
  const bytes = Buffer.alloc(8, 0xff)
  fc.assert(
    fc.property(fc.nat(variableByteIntegerMax), fc.nat(4), (value, at) => {
      const end = writeVariableByteInteger(bytes, at, value)
      return end - at === variableByteCount(value) && readVariableByteInteger(bytes, at, end) === value
    }),
  )
})

t.test('a number that ends too late, or never, is a fault', async (t) => {
  for (const [notation, why] of [
    ['', 'empty'],
    ['80', 'cut after one byte'],
    ['ff ff ff', 'cut after three bytes'],
    ['80 80 80 80 01', 'five bytes'],
    ['80 00', 'overlong [MQTT-1.5.5-1]'],
    ['ff 80 80 00', 'overlong in four bytes'],
  ] as const) {
    const bytes = wire(notation)
    t.throws(() => readVariableByteInteger(bytes, 0, bytes.length), PacketFault, why)
  }
  t.throws(() => readVariableByteInteger(wire('80 01'), 0, 1), PacketFault, 'the neighbour is not read')
})

t.test('a number that has no such form is our mistake', async (t) => {
  t.throws(() => variableByteCount(variableByteIntegerMax + 1), /bug/)
})
