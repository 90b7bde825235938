/** Every fixture in both directions; the codec of each packet type is told by its bytes, not by its code. */
import t from 'tap'
import { decodePacket } from '../../src/protocol/decode.ts'
import { encodeAck } from '../../src/protocol/encode.ts'
import { PacketFault } from '../../src/protocol/fault.ts'
import { OutputBuffer } from '../../src/protocol/output.ts'
import { PacketType, type Version } from '../../src/protocol/packet.ts'
import { decodeShortAckPacketId } from '../../src/protocol/packets/ack.ts'
import { peekVersion } from '../../src/protocol/packets/connect.ts'
import { ReasonCode } from '../../src/protocol/reason.ts'
import { malformedFixtures } from '../fixtures/malformed-packets.ts'
import { type PacketFixture, packetFixtures } from '../fixtures/packets.ts'
import { decodeFrame, encodeFrame, plain, wire } from '../fixtures/wire.ts'

t.test('reads', async (t) => {
  for (const fixture of packetFixtures) {
    t.strictSame(plain(decodeFrame(fixture.bytes, connectionVersion(fixture))), plain(fixture.packet), fixture.title)
  }
})

t.test('writes', async (t) => {
  for (const { title, version, bytes, packet, isReadOnly } of packetFixtures) {
    if (!isReadOnly) t.equal(encodeFrame(packet, version).toString('hex'), bytes.toString('hex'), title)
  }
})

t.test('refuses', async (t) => {
  for (const { title, version, bytes, reasonCode } of malformedFixtures) {
    const answer = decodeFrame(bytes, version)
    t.ok(answer instanceof PacketFault, title)
    if (answer instanceof PacketFault) t.equal(answer.reasonCode, reasonCode, `${title}: ${answer.message}`)
  }
})

t.test('names the statement that was broken', async (t) => {
  // What holds for a field wherever it stands is reported as such, and not as the statement about one packet.
  const general = /^MQTT-(1\.5\.4-|2\.1\.3-1|3\.3\.2-2)/
  for (const { title, version, bytes } of malformedFixtures) {
    const { clause } = decodeFrame(bytes, version) as PacketFault
    const tag = /\[(.+)\]/.exec(title)?.[1]
    if (tag !== undefined && !general.test(clause)) t.equal(clause, tag, title)
  }
})

t.test('before 5.0 there are no properties and few reasons', async (t) => {
  const { puback, connack, suback, unsuback, disconnect } = PacketType
  const properties = { reasonString: 'why' }
  for (const [packet, notation] of [
    [{ type: puback, packetId: 1, reasonCode: ReasonCode.quotaExceeded, properties }, '40 02 0001'],
    [{ type: connack, sessionPresent: true, reasonCode: ReasonCode.success, properties }, '20 02 01 00'],
    [{ type: suback, packetId: 1, reasonCodes: [2, 0x80, 0x87, 0xa2], properties }, '90 06 0001 02 80 80 80'],
    [{ type: unsuback, packetId: 1, reasonCodes: [0, 0x11], properties }, 'b0 02 0001'],
    [{ type: disconnect, reasonCode: ReasonCode.serverShuttingDown, properties }, 'e0 00'],
  ] as const) {
    t.strictSame(encodeFrame(packet, 4), wire(notation))
  }
})

t.test('a refusal before 5.0 is the nearest of five return codes', async (t) => {
  const returnCodes = Object.values(ReasonCode).map((reasonCode) => {
    const connack = { type: PacketType.connack, sessionPresent: true, reasonCode, properties: undefined }
    const [, , sessionPresent, returnCode] = encodeFrame(connack, 4)
    t.equal(sessionPresent, reasonCode === ReasonCode.success ? 1 : 0, 'no session is present in a refusal')
    return [reasonCode, returnCode] as const
  })
  const known = new Map(returnCodes.filter(([, returnCode]) => returnCode !== 3))
  t.strictSame(Object.fromEntries(known), { 0: 0, 132: 1, 133: 2, 134: 4, 135: 5, 138: 5, 140: 4 })
})

t.test('a CONNACK of 3.1 has no session present', async (t) => {
  const connack = {
    type: PacketType.connack,
    sessionPresent: true,
    reasonCode: ReasonCode.success,
    properties: undefined,
  }
  t.strictSame(encodeFrame(connack, 3), wire('20 02 00 00'))
})

t.test('the version of a CONNECT shows although the rest of it is broken', async (t) => {
  for (const [notation, version] of [
    ["0006'MQIsdp' 03", 3],
    ["0006'MQIsdp' 83 ffff", 3],
    ["0004'MQTT' 04 ff", 4],
    ["0004'MQTT' 84", 4],
    ["0004'MQTT' 05 02 003c 80", 5],
    ["0004'MQTT' 85", undefined],
    ["0004'MQTT' 06", undefined],
    ["0006'MQIsdp' 04", undefined],
    ["0004'MQTT'", undefined],
    ["0004'MQ'", undefined],
    ['ffff', undefined],
    ['00', undefined],
    ['', undefined],
  ] as const) {
    const body = Buffer.concat([wire('aa'), wire(notation), wire("'T' 04")])
    t.equal(peekVersion(body, 1, 1 + wire(notation).length), version, notation)
  }
})

t.test('an acknowledgement in its short form', async (t) => {
  const legal = new Set([0x40, 0x50, 0x62, 0x70])
  for (let header = 0; header < 256; header++) {
    const packetId = decodeShortAckPacketId(header, wire('ff 0102 ff'), 1, 3)
    t.equal(packetId, legal.has(header) ? 0x0102 : 0, `is read under the header ${header.toString(16)} or not`)
  }
  t.equal(decodeShortAckPacketId(0x40, wire('0000'), 0, 2), 0, 'has no packet identifier 0')
  t.equal(decodeShortAckPacketId(0x40, wire('0102 00'), 0, 3), 0, 'has no third byte')
  t.equal(decodeShortAckPacketId(0x40, wire('0102'), 0, 1), 0, 'has two bytes')

  const out = new OutputBuffer()
  for (const type of [PacketType.puback, PacketType.pubrec, PacketType.pubrel, PacketType.pubcomp] as const) {
    encodeAck(out, type, 0xfffe)
  }
  t.strictSame(Buffer.concat(out.take()), wire('4002fffe 5002fffe 6202fffe 7002fffe'), 'is written')
})

t.test('a packet holds nothing of the chunk it came in', async (t) => {
  for (const { title, bytes, packet, version } of packetFixtures) {
    const chunk = Buffer.from(bytes)
    const decoded = decodeFrame(chunk, packet.type === PacketType.connect ? undefined : version)
    chunk.fill(0)
    t.strictSame(plain(decoded), plain(packet), title)
  }
})

t.test('fields of the greatest length that a prefix can count pass through', async (t) => {
  const longest = 'x'.repeat(65_535)
  const unsubscribe = { type: PacketType.unsubscribe, packetId: 1, topicFilters: [longest], properties: undefined }
  t.strictSame(plain(decodeFrame(encodeFrame(unsubscribe, 4), 4)), plain(unsubscribe))
  const properties = { authenticationMethod: longest, authenticationData: Buffer.from(longest) }
  const auth = { type: PacketType.auth, reasonCode: ReasonCode.success, properties }
  t.strictSame(plain(decodeFrame(encodeFrame(auth, 5), 5)), plain(auth))
})

t.test('what only we can get wrong is no fault of the peer', async (t) => {
  t.throws(() => decodePacket(0x30, wire("0001'a'"), 0, 3, 4), /bug: PUBLISH/)
  t.throws(() => encodeFrame({ type: PacketType.auth, reasonCode: 0, properties: undefined }, 4), /bug: AUTH/)
  t.throws(
    () =>
      encodeFrame(
        { type: PacketType.unsubscribe, packetId: 1, topicFilters: ['x'.repeat(65_536)], properties: undefined },
        4,
      ),
    /bug/,
  )
})

function connectionVersion({ packet, version }: PacketFixture): Version | undefined {
  return packet.type === PacketType.connect ? undefined : version
}
