/**
 * Finds where an MQTT connection begins in bytes that may begin anywhere: `10`, a length, and a protocol name. Holds
 * no more than the start of a CONNECT between calls.
 */

/** The first byte, at most four bytes of length, and the longest name with its length. */
const headBytesMax = 1 + 4 + 8

const connectByte = 0x10
const names = [Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54]), Buffer.from([0, 6, 0x4d, 0x51, 0x49, 0x73, 0x64, 0x70])]

export class ConnectFinder {
  /** Chunks without a CONNECT in them. */
  skippedStretchCount = 0
  #held: Buffer = Buffer.alloc(0)

  /** The bytes from a CONNECT on, which may hold only its start; undefined while there is none. */
  find(chunk: Buffer): Buffer | undefined {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    for (let at = bytes.indexOf(connectByte); at >= 0; at = bytes.indexOf(connectByte, at + 1)) {
      const verdict = looksLikeConnect(bytes, at)
      if (verdict === 'no') continue
      if (verdict === 'yes') {
        this.clear()
        return bytes.subarray(at)
      }
      this.#held = Buffer.from(bytes.subarray(at))
      return undefined
    }
    this.#held = Buffer.alloc(0)
    if (chunk.length > 0) this.skippedStretchCount++
    return undefined
  }

  clear(): void {
    this.#held = Buffer.alloc(0)
  }
}

/** `perhaps`: the bytes end too early to tell. */
function looksLikeConnect(bytes: Buffer, at: number): 'yes' | 'no' | 'perhaps' {
  let from = at + 1
  while (from < at + 4 && (bytes[from] ?? 0) >= 0x80) from++
  if (from >= bytes.length) return 'perhaps'
  const rest = bytes.subarray(from + 1, at + headBytesMax)
  for (const name of names) {
    const known = Math.min(rest.length, name.length)
    if (!rest.subarray(0, known).equals(name.subarray(0, known))) continue
    return known === name.length ? 'yes' : 'perhaps'
  }
  return 'no'
}
