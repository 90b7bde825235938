import t from 'tap'
import { OutputBuffer } from '../../src/protocol/output.ts'
import { PacketType } from '../../src/protocol/packet.ts'
import {
  type Carrier,
  decodeProperties,
  encodeProperties,
  PROPERTIES,
  propertiesByteCount,
  willCarrier,
} from '../../src/protocol/property.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { faultOf, wire } from '../fixtures/wire.ts'

const carriers: Record<string, Carrier> = {
  will: willCarrier,
  connect: PacketType.connect,
  connack: PacketType.connack,
  publish: PacketType.publish,
  puback: PacketType.puback,
  pubrec: PacketType.pubrec,
  pubrel: PacketType.pubrel,
  pubcomp: PacketType.pubcomp,
  subscribe: PacketType.subscribe,
  suback: PacketType.suback,
  unsubscribe: PacketType.unsubscribe,
  unsuback: PacketType.unsuback,
  disconnect: PacketType.disconnect,
  auth: PacketType.auth,
}

/** Table 2-4 of the specification once more, by hand: identifier, an example of it, and who carries it. */
const table: Record<number, readonly [example: string, carriers: string]> = {
  1: ['01 01', 'publish will'],
  2: ['02 00000001', 'publish will'],
  3: ["03 0001'x'", 'publish will'],
  8: ["08 0001'x'", 'publish will'],
  9: ['09 0001 00', 'publish will'],
  11: ['0b 01', 'publish subscribe'],
  17: ['11 00000001', 'connect connack disconnect'],
  18: ["12 0001'x'", 'connack'],
  19: ['13 0001', 'connack'],
  21: ["15 0001'x'", 'connect connack auth'],
  22: ['16 0001 00', 'connect connack auth'],
  23: ['17 00', 'connect'],
  24: ['18 00000001', 'will'],
  25: ['19 00', 'connect'],
  26: ["1a 0001'x'", 'connack'],
  28: ["1c 0001'x'", 'connack disconnect'],
  31: ["1f 0001'x'", 'connack puback pubrec pubrel pubcomp suback unsuback disconnect auth'],
  33: ['21 0001', 'connect connack'],
  34: ['22 0000', 'connect connack'],
  35: ['23 0001', 'publish'],
  36: ['24 01', 'connack'],
  37: ['25 00', 'connack'],
  38: ["26 0001'k' 0001'v'", Object.keys(carriers).join(' ')],
  39: ['27 00000001', 'connect connack'],
  40: ['28 00', 'connack'],
  41: ['29 00', 'connack'],
  42: ['2a 00', 'connack'],
}

function decode(notation: string, carrier: Carrier): object | undefined {
  const block = wire(notation)
  const bytes = Buffer.concat([wire('ff'), block, wire('ff')])
  return decodeProperties<object>(bytes, 1, 1 + block.length, carrier)
}

function reasonOf(notation: string, carrier: Carrier): ReasonCode | undefined {
  return faultOf(() => decode(notation, carrier))?.reasonCode
}

t.test('the table has the properties of the specification', async (t) => {
  const identifiers = new Set(PROPERTIES.map(([id]) => id))
  t.strictSame([...identifiers], Object.keys(table).map(Number))
  t.equal(identifiers.size, 27)
})

t.test('every identifier is legal exactly where the specification has it', async (t) => {
  for (const [name, carrier] of Object.entries(carriers)) {
    const wrong: number[] = []
    for (let id = 0; id < 256; id++) {
      const [example, legalCarriers] = table[id] ?? [`${id.toString(16).padStart(2, '0')} 01`, '']
      const legal = legalCarriers.split(' ').includes(name)
      if (reasonOf(example, carrier) !== (legal ? undefined : ReasonCode.malformedPacket)) wrong.push(id)
    }
    t.strictSame(wrong, [], name)
  }
})

t.test('a property that comes twice is a protocol error unless it may', async (t) => {
  for (const [id, [example, legalCarriers]] of Object.entries(table)) {
    for (const name of legalCarriers.split(' ')) {
      const mayRepeat = Number(id) === 0x26 || (Number(id) === 0x0b && name === 'publish')
      const carrier = carriers[name] as Carrier
      t.equal(
        reasonOf(`${example} ${example}`, carrier),
        mayRepeat ? undefined : ReasonCode.protocolError,
        `${name} ${id}`,
      )
    }
  }
})

t.test('a property that is cut anywhere is malformed', async (t) => {
  for (const [example, legalCarriers] of Object.values(table)) {
    const bytes = wire(example)
    const carrier = carriers[legalCarriers.split(' ')[0] as string] as Carrier
    for (let end = 1; end < bytes.length; end++) {
      const fault = faultOf(() => decodeProperties(bytes, 0, end, carrier))
      t.equal(fault?.reasonCode, ReasonCode.malformedPacket, `${example} cut to ${end} bytes`)
    }
  }
})

t.test('every carrier has one object shape, whatever is there and in whatever order', async (t) => {
  for (const [name, carrier] of Object.entries(carriers)) {
    const legal = Object.values(table).filter(([, legalCarriers]) => legalCarriers.split(' ').includes(name))
    const examples = legal.map(([example]) => example)
    const [all, reversed] = [examples.join(' '), examples.toReversed().join(' ')]
    const keys = Object.keys(decode(all, carrier) as object)
    t.equal(keys.length, legal.length, name)
    t.strictSame(Object.keys(decode(reversed, carrier) as object), keys)
    t.strictSame(Object.keys(decode(examples[0] as string, carrier) as object), keys)
  }
  t.equal(decode('', PacketType.publish), undefined, 'no properties are no object')
})

t.test('a value out of range is refused with the reason that is named for it', async (t) => {
  const { connect, connack, publish, subscribe } = PacketType
  for (const [notation, carrier, reasonCode] of [
    ['01 02', publish, ReasonCode.protocolError],
    ['0b 00', publish, ReasonCode.protocolError],
    ['0b 00', subscribe, ReasonCode.protocolError],
    ['0b 8000', subscribe, ReasonCode.malformedPacket],
    ['17 02', connect, ReasonCode.protocolError],
    ['19 02', connect, ReasonCode.protocolError],
    ['21 0000', connect, ReasonCode.protocolError],
    ['21 0000', connack, ReasonCode.protocolError],
    ['23 0000', publish, ReasonCode.topicAliasInvalid],
    ['24 02', connack, ReasonCode.protocolError],
    ['25 02', connack, ReasonCode.protocolError],
    ['27 00000000', connack, ReasonCode.protocolError],
    ['28 ff', connack, ReasonCode.protocolError],
    ['29 02', connack, ReasonCode.protocolError],
    ['2a 02', connack, ReasonCode.protocolError],
    ['08 0000', publish, ReasonCode.topicNameInvalid],
    ["08 0001'#'", willCarrier, ReasonCode.topicNameInvalid],
    ["26 0001'k' 0001 80", publish, ReasonCode.malformedPacket],
  ] as const) {
    t.equal(reasonOf(notation, carrier), reasonCode, `${notation} of ${carrier}`)
  }
})

t.test('nothing of a decoded object is borrowed', async (t) => {
  const bytes = wire("09 0002 beef 26 0001'k' 0001'v'")
  const properties = decodeProperties(bytes, 0, bytes.length, PacketType.publish)
  bytes.fill(0)
  t.match(properties, { correlationData: wire('beef'), userProperties: [['k', 'v']] })
})

t.test('writing counts first and leaves out what is undefined', async (t) => {
  const properties = { topicAlias: undefined, correlationData: wire('00'), userProperties: [['k', '']] }
  const byteCount = propertiesByteCount(properties)
  const out = new OutputBuffer()
  encodeProperties(out, properties, byteCount)
  t.equal(out.byteCount, 1 + byteCount)
  t.strictSame(Buffer.concat(out.take()), wire("0a 09 0001 00 26 0001'k' 0000"))
  t.equal(propertiesByteCount(undefined), 0)
  t.equal(propertiesByteCount({ userProperties: [] }), 0)
  t.throws(() => propertiesByteCount({ reasonString: 'x'.repeat(65_536) }), /bug/)
  t.throws(() => propertiesByteCount({ colour: 'red' }), /bug/)
})
