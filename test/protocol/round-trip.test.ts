/** What we write we read, and so does mqtt-packet; what it writes we read. For every packet type and version. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { PacketFault } from '../../src/protocol/fault.ts'
import { PacketType, type Version } from '../../src/protocol/packet.ts'
import { arbitraryPackets } from '../fixtures/arbitrary-packets.ts'
import { carried, readElsewhere, writtenElsewhere } from '../fixtures/second-opinion.ts'
import { type AnyPacket, decodeFrame, encodeFrame, plain } from '../fixtures/wire.ts'

const versions: readonly Version[] = [3, 4, 5]

for (const version of versions) {
  for (const [name, arbitraryOf] of Object.entries(arbitraryPackets)) {
    const arbitrary = arbitraryOf(version)
    if (arbitrary === undefined) continue

    t.test(`${name} of version ${version} reads as it was written`, async () => {
      fc.assert(
        fc.property(arbitrary, (packet) => equal(decode(encodeFrame(packet, version), packet, version), packet)),
      )
    })

    t.test(`${name} of version ${version} means the same to mqtt-packet`, async () => {
      const property = fc.property(arbitrary.map(carried), (packet) => {
        equal(decode(writtenElsewhere(packet, version), packet, version), packet)
        const bytes = encodeFrame(packet, version)
        if (!isEmptyAuth(bytes)) equal(readElsewhere(bytes, version), packet)
      })
      fc.assert(property)
    })
  }
}

function decode(bytes: Buffer, { type }: AnyPacket, version: Version): AnyPacket | PacketFault {
  return decodeFrame(bytes, type === PacketType.connect ? undefined : version)
}

/** User properties in the order that both sides can keep; fixtures prove the order of their own. */
function equal(actual: object | undefined, expected: AnyPacket): void {
  if (actual instanceof PacketFault) throw actual
  assert.deepEqual(plain(actual), plain(expected))
}

/** mqtt-packet takes the legal short form for broken. */
function isEmptyAuth(bytes: Buffer): boolean {
  return bytes.equals(Buffer.from([PacketType.auth << 4, 0]))
}
