/**
 * What two brokers compare to find out which of their retained messages differ: 64 bits for each message, gathered by the
 * hash of its topic into buckets, of which the digests are the sums without carry. What changes on its way does not count:
 * QoS, expiry, Response Topic, and the properties that brokers put on (`x-b-`).
 */
import type { Publish } from './packets/publish.ts'

/** The most buckets, and a power of two: half as many are the same ones folded. */
export const bucketCountMax = 1024

const bucketCountMin = 16

/** Topics in a bucket, on average: so few that one that differs does not bring many along. */
const topicsPerBucket = 8

export function bucketCountFor(topicCount: number): number {
  let count = bucketCountMin
  while (count < bucketCountMax && count * topicsPerBucket < topicCount) count *= 2
  return count
}

/** Two FNV-1a side by side. */
class Hash {
  #low = 0x811c9dc5
  #high = 0x01000193

  byte(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x01000193)
    this.#high = Math.imul(this.#high ^ value, 0x5bd1e995) ^ (this.#high >>> 15)
  }

  bytes(bytes: Uint8Array, start = 0, end = bytes.length): void {
    for (let at = start; at < end; at++) this.byte(bytes[at] as number)
    this.byte(0xff)
  }

  text(text: string | undefined): void {
    for (let at = 0; at < (text ?? '').length; at++) {
      const unit = (text as string).charCodeAt(at)
      this.byte(unit & 0xff)
      this.byte(unit >> 8)
    }
    this.byte(text === undefined ? 0xfe : 0xff)
  }

  get low(): number {
    return this.#low >>> 0
  }

  get high(): number {
    return this.#high >>> 0
  }
}

export interface Digest {
  readonly low: number
  readonly high: number
}

/** @param topic what the message is called between the two */
export function digestOf(topic: string, { bytes, payloadStart, payloadEnd, properties }: Publish): Digest {
  const hash = new Hash()
  hash.text(topic)
  hash.bytes(bytes, payloadStart, payloadEnd)
  hash.text(properties?.contentType)
  hash.byte(properties?.payloadFormatIndicator ?? 0)
  if (properties?.correlationData !== undefined) hash.bytes(properties.correlationData)
  for (const [name, value] of properties?.userProperties ?? []) {
    if (name.startsWith('x-b-')) continue
    hash.text(name)
    hash.text(value)
  }
  return { low: hash.low, high: hash.high }
}

/** @example digestText({ low: 1, high: 255 }) // '000000ff00000001' */
export function digestText({ low, high }: Digest): string {
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')
}

/** The bucket of a topic among `bucketCount`. */
export function bucketOf(topic: string, bucketCount: number): number {
  const hash = new Hash()
  hash.text(topic)
  return (hash.low ^ (hash.low >>> 15)) & (bucketCount - 1)
}

export class BucketDigests {
  readonly #words: Uint32Array
  topicCount = 0

  constructor(bucketCount: number) {
    this.#words = new Uint32Array(2 * bucketCount)
  }

  get bucketCount(): number {
    return this.#words.length / 2
  }

  add(topic: string, { low, high }: Digest): void {
    this.#mix(bucketOf(topic, this.bucketCount), low, high)
    this.topicCount++
  }

  #mix(bucket: number, low: number, high: number): void {
    this.#words[2 * bucket] = (this.#words[2 * bucket] as number) ^ low
    this.#words[2 * bucket + 1] = (this.#words[2 * bucket + 1] as number) ^ high
  }

  /** The same in fewer buckets. */
  foldedTo(bucketCount: number): BucketDigests {
    const folded = new BucketDigests(bucketCount)
    for (let bucket = 0; bucket < this.bucketCount; bucket++) {
      const [low, high] = [this.#words[2 * bucket] as number, this.#words[2 * bucket + 1] as number]
      folded.#mix(bucket & (bucketCount - 1), low, high)
    }
    folded.topicCount = this.topicCount
    return folded
  }

  /** Base64. */
  toText(): string {
    const bytes = Buffer.alloc(4 * this.#words.length)
    for (const [index, word] of this.#words.entries()) bytes.writeUInt32BE(word, 4 * index)
    return bytes.toString('base64')
  }

  /** The buckets in which `text`, of as many, is different. undefined when it is not of as many. */
  differing(text: string): number[] | undefined {
    const bytes = Buffer.from(text, 'base64')
    if (bytes.length !== 4 * this.#words.length) return undefined
    const found: number[] = []
    for (let bucket = 0; bucket < this.bucketCount; bucket++) {
      const isLowSame = bytes.readUInt32BE(8 * bucket) === this.#words[2 * bucket]
      const isHighSame = bytes.readUInt32BE(8 * bucket + 4) === this.#words[2 * bucket + 1]
      if (!isLowSame || !isHighSame) found.push(bucket)
    }
    return found
  }
}
