/**
 * Reads the fields of one packet body, front to back, and never past its end: whatever lies behind belongs to the
 * next packet. Every read throws a PacketFault malformedPacket when the body ends first (MQTT 5.0 §1.5).
 * For the packets that come seldom; PUBLISH and the short acknowledgements are read without one.
 */
import { malformed, protocolError } from './fault.ts'
import type { Version } from './packet.ts'
import type { ReasonCode } from './reason.ts'
import { readTopicName } from './topic.ts'
import { readUtf8 } from './utf8.ts'
import { readVariableByteInteger, variableByteCount } from './variable-byte-integer.ts'

export class Cursor {
  readonly bytes: Buffer
  /** Position of the next field. */
  at: number
  readonly end: number

  /** Over `bytes[start..end)`, borrowed for as long as the cursor is used. */
  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes
    this.at = start
    this.end = end
  }

  get isAtEnd(): boolean {
    return this.at === this.end
  }

  uint8(): number {
    return this.bytes[this.skip(1)] as number
  }

  uint16(): number {
    return this.bytes.readUInt16BE(this.skip(2))
  }

  uint32(): number {
    return this.bytes.readUInt32BE(this.skip(4))
  }

  variableByteInteger(): number {
    const value = readVariableByteInteger(this.bytes, this.at, this.end)
    this.at += variableByteCount(value)
    return value
  }

  packetId(): number {
    const packetId = this.uint16()
    if (packetId === 0) throw malformed('MQTT-2.2.1-3', 'packet identifier 0') // [MQTT-2.2.1-3]
    return packetId
  }

  /** A reason code that is among `legal`. @throws PacketFault protocolError with `clause` when it is not */
  reasonCode(legal: ReadonlySet<ReasonCode>, clause: string): ReasonCode {
    const code = this.uint8() as ReasonCode
    if (!legal.has(code)) {
      throw protocolError(clause, 'reason code does not belong to this packet')
    }
    return code
  }

  string(): string {
    const start = this.#field()
    return readUtf8(this.bytes, start, this.at)
  }

  topicName(version: Version): string {
    const start = this.#field()
    return readTopicName(this.bytes, start, this.at, version)
  }

  /** Owned: a copy. */
  binary(): Buffer {
    const start = this.#field()
    return Buffer.from(this.bytes.subarray(start, this.at))
  }

  /** Passes over `byteCount` bytes; returns where they begin. */
  skip(byteCount: number): number {
    const start = this.at
    if (byteCount > this.end - start) {
      throw malformed('', 'packet ends in the middle of a field')
    }
    this.at = start + byteCount
    return start
  }

  expectEnd(): void {
    if (!this.isAtEnd) throw malformed('', 'bytes behind the end of the packet')
  }

  /** Passes over a field with a two-byte length before it; returns where its content begins. */
  #field(): number {
    return this.skip(this.uint16())
  }
}
