import fc from 'fast-check'
import t from 'tap'
import { PacketFault } from '../../src/protocol/fault.ts'
import { readUtf8 } from '../../src/protocol/utf8.ts'
import { wire } from '../fixtures/wire.ts'

function read(bytes: Buffer): string {
  return readUtf8(Buffer.concat([wire('ff'), bytes, wire('ff')]), 1, 1 + bytes.length)
}

t.test('text of every width reads', async (t) => {
  t.equal(read(wire('')), '')
  t.equal(read(wire("'plain'")), 'plain')
  t.equal(read(wire('c2a2 e282ac f0908d88')), '\u00a2\u20ac\u{10348}')
  t.equal(read(wire('efbfbd')), '\ufffd', 'the replacement character stands for itself')
  t.equal(read(wire('efbfbf')), '\uffff', 'a code point that is no character is allowed')
  t.equal(read(wire('efbbbf 61')), '\ufeffa', 'a byte order mark stays [MQTT-1.5.4-3]')
})

t.test('what is not UTF-8 is a fault', async (t) => {
  for (const [notation, why] of [
    ['80', 'continuation without a start'],
    ['c3', 'start without a continuation'],
    ['c080', 'overlong U+0000'],
    ['c1bf', 'overlong in two bytes'],
    ['e08080', 'overlong in three bytes'],
    ['f0808080', 'overlong in four bytes'],
    ['eda080', 'high surrogate [MQTT-1.5.4-1]'],
    ['edbfbf', 'low surrogate'],
    ['eda080edb080', 'pair of surrogates'],
    ['f4908080', 'beyond Unicode'],
    ['f8888080', 'five bytes'],
    ['ff', 'no byte of UTF-8'],
    ['6100', 'U+0000 [MQTT-1.5.4-2]'],
  ] as const) {
    t.throws(() => read(wire(notation)), PacketFault, why)
  }
})

t.test('any bytes read as the decoder of the platform reads them', async () => {
  const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  const byte = fc.oneof(fc.nat(255), fc.constantFrom(0x61, 0x80, 0xc3, 0xe2, 0x82, 0xac, 0xed, 0xa0, 0xf0, 0x90))
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 12 }), (bytes) => {
      const input = Buffer.from(bytes)
      return attempt(() => read(input)) === (bytes.includes(0) ? undefined : attempt(() => strict.decode(input)))
    }),
    { numRuns: 5000 },
  )
})

function attempt(decode: () => string): string | undefined {
  try {
    return decode()
  } catch (error) {
    if (error instanceof PacketFault || error instanceof TypeError) return undefined
    throw error
  }
}
