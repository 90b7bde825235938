/**
 * The packet that was encoded last, where it was written: for the next recipient of the same message in the same form
 * all of it but the packet id is one copy. A fan-out asks for the same message again and again.
 */
import type { OutputBuffer } from '../output.ts'
import type { Qos, Version } from '../packet.ts'
import type { Publish } from './publish.ts'

export class PublishImage {
  #publish: Publish | undefined
  #form = 0
  #bytes: Buffer | undefined
  #start = 0
  #end = 0
  #packetIdAt = 0
  /** Made for the second recipient, because most messages have one. */
  #view: Buffer | undefined

  fits(publish: Publish, version: Version, qos: Qos, retain: boolean): boolean {
    return publish === this.#publish && this.#form === formOf(version, qos, retain)
  }

  /** @param bytes stays as it is until the message was sent to everybody */
  remember(
    publish: Publish,
    version: Version,
    qos: Qos,
    retain: boolean,
    bytes: Buffer,
    start: number,
    end: number,
    packetIdAt: number,
  ): void {
    this.#publish = publish
    this.#form = formOf(version, qos, retain)
    this.#bytes = bytes
    this.#start = start
    this.#end = end
    this.#packetIdAt = packetIdAt
    this.#view = undefined
  }

  copyTo(out: OutputBuffer, packetId: number, packetBytesMax: number): boolean {
    const byteCount = this.#end - this.#start
    if (byteCount > packetBytesMax) return false
    this.#view ??= (this.#bytes as Buffer).subarray(this.#start, this.#end)
    out.ensure(byteCount)
    out.bytes.set(this.#view, out.length)
    if (packetId > 0) {
      const at = out.length + this.#packetIdAt
      out.bytes[at] = packetId >> 8
      out.bytes[at + 1] = packetId & 0xff
    }
    out.length += byteCount
    return true
  }
}

/** Version, QoS and retain flag as one number. */
function formOf(version: Version, qos: Qos, retain: boolean): number {
  return (version << 3) | (qos << 1) | (retain ? 1 : 0)
}
